"use strict";
// The index page: the table of models and variants (DataTables) with its filters, and the charts (Chart.js).
// Every text from a report is set as text, never as HTML.
(() => {
  const block = document.getElementById("fleet-data");
  if (!block) return;
  const { number, bytes, share, value, draw, options, decades, power, series, drawErrors, drawReasons } = window.LiteFerry;
  const data = JSON.parse(block.textContent);
  const WORDS = { blessed: "blessed", not_blessed: "not blessed", unverifiable: "unverifiable", failed: "failed" };
  const MARKS = { blessed: "✓", not_blessed: "✗", unverifiable: "?", failed: "!" };

  const models = data.table.models.map(([id, status, reason, message, uri, group, metadata, caution, held]) => ({
    id, status, reason, message, uri, group, metadata, caution, held: held === 1,
    href: `${held === 1 ? "attempts" : "models"}/${encodeURIComponent(id)}/report.html`,
  }));
  const rows = data.table.rows.map(([model, variant, status, reason, size, worst, agreement, latency, recommended]) => ({
    model: models[model], variant, status: status ?? models[model].status, reason: reason ?? (variant === null ? models[model].reason : null),
    size, worst: value(worst), agreement, latency: value(latency), recommended: recommended === 1,
  }));
  const seen = new Set();
  for (const row of rows) {
    const { model } = row;
    row.text = [model.id, model.uri, model.message, row.variant, row.reason, model.reason, ...model.metadata].join("\n").toLowerCase();
    if (row.recommended) model.chosen = row;
  }
  for (const row of rows) {
    row.leads = row.model.chosen ? row === row.model.chosen : !seen.has(row.model);
    seen.add(row.model);
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function badge(status) {
    const made = element("span", `badge ${status}`);
    const mark = element("span", "", MARKS[status]);
    mark.setAttribute("aria-hidden", "true");
    made.append(mark, ` ${WORDS[status]}`);
    return made;
  }

  function address(row) {
    return row.variant === null ? row.model.href : `${row.model.href}#variant-${row.variant.replace(/[^A-Za-z0-9_-]/gu, "-")}`;
  }

  function modelCell(row) {
    const link = element("a", "", row.model.id || "(no id)");
    link.href = address(row);
    link.title = row.model.uri;
    return link;
  }

  function reasonCell(row) {
    const caution = row.model.caution;
    if (!row.reason) return caution ? element("span", "", caution) : element("span", "absent", "–");
    const made = element("span");
    const code = element("code", "", row.reason);
    if (row.model.message) code.title = row.model.message;
    made.append(code);
    if (caution) made.append(" ", element("span", "", caution));
    return made;
  }

  function variantCell(row) {
    const made = element("span", row.variant === null ? "absent" : "", row.variant ?? "–");
    if (row.recommended) made.append(" ", element("span", "recommended", "recommended"));
    return made;
  }

  const RANK = { failed: 0, not_blessed: 1, unverifiable: 2, blessed: 3 };
  const column = (label, sorted, cell, changes = {}) => ({
    data: null, searchable: false, type: "shown", className: "",
    render: (_, kind, row) => (kind === "display" ? cell(row) : sorted(row)),
    createdCell: (td, _, row) => {
      td.dataset.label = label;
      td.setAttribute("role", "cell");
      td.classList.toggle("absent", (sorted(row) ?? null) === null); // a card on a phone leaves it out
    },
    ...changes,
  });
  const text = (found) => element("span", found === "–" ? "absent" : "", found);
  const columns = [
    column("model", (row) => row.model.id, modelCell, {
      cellType: "th",
      createdCell: (th) => { th.scope = "row"; th.setAttribute("role", "rowheader"); },
    }),
    column("model’s verdict", (row) => RANK[row.model.status], (row) => badge(row.model.status)),
    column("variant", (row) => row.variant, variantCell),
    column("verdict", (row) => RANK[row.status], (row) => badge(row.status)),
    column("reason", (row) => row.reason, reasonCell),
    column("size", (row) => row.size, (row) => text(bytes(row.size)), { className: "number" }),
    column("worst error", (row) => row.worst, (row) => text(number(row.worst)), { className: "number" }),
    column("agreement", (row) => row.agreement, (row) => text(share(row.agreement)), { className: "number" }),
    column("latency, ms", (row) => row.latency, (row) => text(number(row.latency)), { className: "number", visible: rows.some((row) => row.latency !== null) }),
  ];

  // What is not known stands last in either direction; NaN is worse than any number.
  function compare(direction) {
    return (left, right) => {
      if (left === null || right === null) return (left === null) - (right === null);
      if (typeof left === "string") return direction * left.localeCompare(right, "en", { numeric: true });
      const [one, other] = [left, right].map((found) => (Number.isNaN(found) ? Infinity : found));
      return one === other ? 0 : direction * (one < other ? -1 : 1);
    };
  }

  const form = document.getElementById("filters");
  const field = (name) => form.elements.namedItem(name);

  function wanted() {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const pair = field("metadata").value.trim().toLowerCase();
    const [modelStatus, status, reason, variant, group] = ["model_status", "status", "reason", "variant", "group"].map((name) => field(name).value);
    const once = field("once").checked;
    return (row) =>
      (!modelStatus || row.model.status === modelStatus) &&
      (!status || row.status === status) &&
      (!reason || row.reason === reason || row.model.reason === reason) &&
      (!variant || row.variant === variant) &&
      (!group || row.model.group === group) &&
      (!once || row.leads) &&
      (!pair || row.model.metadata.some((found) => found.toLowerCase().includes(pair))) &&
      words.every((word) => row.text.includes(word));
  }

  function fill(name, choices) {
    const control = field(name);
    for (const choice of choices) control.append(new Option(choice, choice));
    if (choices.length < 2) control.closest("label").hidden = true;
  }

  function makeTable() {
    const distinct = (pick) => [...new Set(rows.map(pick).filter(Boolean))].sort();
    fill("reason", [...new Set([...distinct((row) => row.reason), ...distinct((row) => row.model.reason)])].sort());
    fill("variant", data.variants);
    fill("group", distinct((row) => row.model.group));
    const list = document.getElementById("metadata-choices");
    for (const pair of data.table.metadata) list.append(new Option(pair, pair));
    field("metadata").closest("label").hidden = data.table.metadata.length === 0;

    DataTable.type("shown", { order: { asc: compare(1), desc: compare(-1) } });
    const ordered = [...rows];
    let matches = wanted();
    const table = new DataTable("#fleet", {
      data: ordered, columns, autoWidth: false, pageLength: 50, lengthMenu: [50, 200, 1000], order: [],
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
      createdRow: (tr) => tr.setAttribute("role", "row"),
      language: { info: "_START_ to _END_ of _TOTAL_ rows", infoFiltered: "(of _MAX_ in all)", infoEmpty: "No row", zeroRecords: "No row matches these filters.", lengthMenu: "_MENU_ rows a page" },
    });
    table.search.fixed("filters", (_, row) => matches(row));
    const apply = () => { matches = wanted(); table.draw(); };
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(() => { table.order([]); apply(); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    field("sort").addEventListener("input", (event) => {
      const [index, direction] = event.target.value.split(" ");
      table.order(index ? [[Number(index), direction]] : []).draw();
    });
    // Paper has no pages to turn; a very large fleet prints the page that is shown.
    let length = null;
    addEventListener("beforeprint", () => { if (rows.length <= 2000) { length = table.page.len(); table.page.len(-1).draw(); } });
    addEventListener("afterprint", () => { if (length !== null) table.page.len(length).draw(); length = null; });
    return { apply };
  }

  function scatter(found) {
    const measured = rows.filter((row) => row.size > 0 && Number.isFinite(row.worst));
    const positive = measured.filter((row) => row.worst > 0).reduce((least, row) => Math.min(least, row.worst), 1);
    const floor = 10 ** Math.floor(Math.log10(positive) - 1); // where exact ones are drawn: a logarithm has no zero
    draw("chart-scatter", () => ({
      type: "scatter",
      data: {
        datasets: found.variants.map((name, index) => {
          const look = series(index);
          const points = measured.filter((row) => row.variant === name).map((row) => ({ x: row.size, y: Math.max(row.worst, floor), row }));
          return { label: name, data: points, backgroundColor: `${look.colour}99`, borderColor: look.colour, pointStyle: look.shape, pointRadius: 4 };
        }),
      },
      options: options({
        parsing: false,
        scales: { x: decades("size", bytes, [1, 2, 5]), y: decades("largest difference", power) },
        onClick: (_, hits, chart) => {
          const hit = hits[0];
          if (hit) location.href = address(chart.data.datasets[hit.datasetIndex].data[hit.index].row);
        },
        plugins: {
          tooltip: { callbacks: { label: ({ raw: { row } }) => `${row.model.id} ${row.variant}: ${number(row.worst)} at ${bytes(row.size)}, ${WORDS[row.status]}` } },
        },
      }),
    }));
  }

  const { apply } = makeTable();
  document.documentElement.dataset.ready = "table";
  setTimeout(() => {
    if (data.charts.scatter) scatter(data.charts.scatter);
    if (data.charts.errors) drawErrors(data.charts.errors);
    if (data.charts.reasons) {
      drawReasons(data.charts.reasons, (code) => {
        field("reason").value = code;
        apply();
        document.getElementById("models").scrollIntoView();
      });
    }
    document.documentElement.dataset.ready = "all";
  });
})();
