"use strict";
// The cells of the matrix of models and variants, for a fleet whose rows are all in the page and for one that loads them in parts.
// Every text from a report is set as text, never as HTML. `chosen`: the name of the number that variants' cells show.
window.LiteFerry.cells = (variants, metrics, chosen) => {
  const { number, bytes, share, value } = window.LiteFerry;
  const WORDS = { blessed: "blessed", not_blessed: "not blessed", unverifiable: "unverifiable", failed: "failed" };
  const MARKS = { blessed: "✓", not_blessed: "✗", unverifiable: "?", failed: "!" };
  const METRICS = 2;
  const RANK = { failed: 0, not_blessed: 1, unverifiable: 2, blessed: 3 };


  // Rows as table_data.py writes them; their metrics may be named in another order than the page's.
  function read(table) {
    const places = metrics.map((name) => table.metrics.indexOf(name));
    const models = table.models.map(([id, status, reason, message, uri, , metadata, caution, held]) => {
      const folder = `${held === 1 ? "attempts" : "models"}/${encodeURIComponent(id)}`;
      return { id, status, reason, message, uri, caution, held: held === 1, folder, cells: new Map(), text: [id, uri, message, reason, ...metadata].join("\n").toLowerCase() };
    });
    for (const [place, variant, status, reason, size, worst, agreement, latency, recommended, path, found] of table.rows) {
      const model = models[place];
      if (variant === null) continue;
      model.cells.set(variant, { status, reason, size, worst: value(worst), agreement, latency: value(latency), recommended: recommended === 1, metrics: found && places.map((at) => found[at]) });
      if (recommended === 1) {
        model.file = path;
        model.chosen = model.cells.get(variant);
      }
    }
    return models;
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function mark(status, words) {
    const made = element("span", `badge ${status}`);
    const sign = element("span", "", MARKS[status]);
    sign.setAttribute("aria-hidden", "true");
    made.append(sign, words ? ` ${WORDS[status]}` : element("span", "spoken", WORDS[status]));
    return made;
  }

  // What a cell can show: its number to sort by, and its text.
  const signed = (change) => (change === null || change === undefined ? "" : ` (${change > 0 ? "+" : ""}${number(change)})`);
  const SHOWN = new Map([
    ["size", [(cell) => cell.size, (cell) => bytes(cell.size)]],
    ["worst error", [(cell) => cell.worst, (cell) => number(cell.worst)]],
    ["agreement", [(cell) => cell.agreement, (cell) => share(cell.agreement)]],
    ["latency, ms", [(cell) => cell.latency, (cell) => number(cell.latency)]],
    ...metrics.map((name, place) => [
      `${name} (change)`,
      [(cell) => value(cell.metrics?.[place]?.[0] ?? null), (cell) => `${number(cell.metrics?.[place]?.[0] ?? null)}${signed(value(cell.metrics?.[place]?.[1] ?? null))}`],
    ]),
  ]);

  function variantCell(model, name) {
    const cell = model.cells.get(name);
    if (!cell) return element("span", "absent", "–");
    const link = element("a", "cell");
    link.href = `${model.folder}/report.html#variant-${name.replace(/[^A-Za-z0-9_-]/gu, "-")}`;
    link.title = `${model.id} ${name}: ${cell.reason ?? WORDS[cell.status]}`;
    link.append(mark(cell.status, false), ` ${SHOWN.get(chosen())[1](cell)}`);
    if (cell.recommended) {
      const star = element("span", "star", " ★");
      star.setAttribute("aria-hidden", "true");
      link.append(star, element("span", "spoken", "recommended"));
    }
    return link;
  }

  function nameCell(model) {
    const link = element("a", "", model.id || "(no id)");
    link.href = `${model.folder}/report.html`;
    link.title = model.uri;
    return link;
  }

  function verdictCell(model) {
    const made = element("span");
    made.append(mark(model.status, true));
    const told = model.reason ?? model.caution;
    if (told) made.append(" ", element(model.reason ? "code" : "span", "", told));
    if (model.held) made.append(" ", element("span", "quiet", "held back"));
    if (model.message) made.title = model.message;
    return made;
  }

  function filesCell(model) {
    const made = element("span", "files");
    const add = (words, address) => {
      const link = element("a", "", words);
      link.href = address;
      link.append(element("span", "spoken", ` of ${model.id}`));
      made.append(made.childNodes.length ? " · " : "", link);
    };
    if (model.file) add(model.file.split("/").at(-1), `${model.folder}/${model.file.split("/").map(encodeURIComponent).join("/")}`);
    add("facts", `${model.folder}/report.json`);
    return made;
  }

  // The first task metrics of the recommended variant; the others are a choice of what the cells show.
  const metricOf = (place) => (model) => value(model.chosen?.metrics?.[place]?.[0] ?? null);
  function metricCell(model, place) {
    const found = model.chosen?.metrics?.[place];
    const made = element("span", found && found[2] === false ? "missed" : found ? "" : "absent", number(value(found?.[0] ?? null)));
    if (found) made.append(element("span", "quiet", signed(value(found[1]))));
    return made;
  }

  const column = (label, sorted, cell, changes = {}) => ({
    data: null, searchable: false, type: "shown", className: "",
    render: (_, kind, model) => (kind === "display" ? cell(model) : sorted(model)),
    createdCell: (td) => { td.dataset.label = label; },
    ...changes,
  });
  const sortedBy = (name) => (model) => {
    const cell = model.cells.get(name);
    return cell ? (SHOWN.get(chosen())[0](cell) ?? null) : null;
  };
  const columns = [
    column("model", (model) => model.id, nameCell, { cellType: "th", createdCell: (th) => { th.scope = "row"; } }),
    column("verdict", (model) => `${RANK[model.status]} ${model.reason ?? ""}`, verdictCell),
    ...variants.map((name) => column(name, sortedBy(name), (model) => variantCell(model, name), { className: "number" })),
    ...metrics.slice(0, METRICS).map((name, place) => column(`${name} of ★`, metricOf(place), (model) => metricCell(model, place), { className: "number" })),
    column("files", (model) => model.file ?? null, filesCell),
  ];

  return { read, columns, SHOWN };
};
