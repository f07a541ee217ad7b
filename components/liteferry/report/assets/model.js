"use strict";
// A model's page: two charts for each output (Chart.js), and buttons that copy the snippets.
(() => {
  const { number, draw, options, axis, series, colour, decades, power } = window.LiteFerry;
  const block = document.getElementById("model-data");
  const { outputs, errors } = block ? JSON.parse(block.textContent) : { outputs: [], errors: [] };
  const dataset = (name, index, changes) => {
    const look = series(index);
    return { label: name, borderColor: look.colour, backgroundColor: `${look.colour}99`, pointStyle: look.shape, ...changes };
  };

  function histogram(id, found) {
    draw(id, () => ({
      type: "line",
      data: {
        labels: found.labels,
        datasets: found.series.map(({ name, counts, exact }, index) => {
          const total = counts.reduce((sum, count) => sum + count, exact);
          const label = exact ? `${name} (${number((100 * exact) / total)} % exact)` : name;
          return dataset(label, index, { data: counts.map((count) => (100 * count) / total), counts, total, borderWidth: 2, pointRadius: 2.5, cubicInterpolationMode: "monotone" });
        }),
      },
      options: options({
        interaction: { mode: "index", intersect: false },
        scales: { x: axis("difference, at least"), y: axis("% of elements", { beginAtZero: true }) },
        plugins: {
          tooltip: { callbacks: { label: ({ dataset: of, dataIndex }) => `${of.label}: ${number(of.counts[dataIndex])} elements, ${number(of.data[dataIndex])} %` } },
        },
      }),
    }));
  }

  function scatter(id, found) {
    const all = found.flatMap(({ points }) => points.flat());
    const ends = [Math.min(...all), Math.max(...all)];
    draw(id, () => ({
      type: "scatter",
      data: {
        datasets: [
          ...found.map(({ name, points }, index) => dataset(name, index, { data: points.map(([x, y]) => ({ x, y })), pointRadius: 3 })),
          { type: "line", label: "equal", data: ends.map((end) => ({ x: end, y: end })), borderColor: colour("control"), borderWidth: 1, borderDash: [5, 4], pointRadius: 0, pointStyle: "line" },
        ],
      },
      options: options({
        parsing: false,
        scales: { x: axis("checkpoint"), y: axis("artifact") },
        plugins: { tooltip: { callbacks: { label: ({ dataset: of, raw }) => `${of.label}: ${number(raw.x)} became ${number(raw.y)}` } } },
      }),
    }));
  }

  outputs.forEach((found, index) => {
    if (found.histogram) histogram(`histogram-${index}`, found.histogram);
    if (found.scatter) scatter(`scatter-${index}`, found.scatter);
  });

  // What is not finite is drawn at the top: it is as wrong as can be.
  function byOperator(found) {
    const finite = found.flatMap(({ tensors }) => tensors.map(([, , , error]) => error)).filter((error) => error > 0);
    const [low, high] = [Math.min(1, ...finite) / 10, Math.max(1, ...finite)];
    draw("errors-by-operator", () => ({
      type: "line",
      data: {
        labels: found.map(({ tensors }) => tensors).sort((one, other) => other.length - one.length)[0].map(([, operator]) => operator),
        datasets: found.map(({ name, tensors }, index) =>
          dataset(name, index, { data: tensors.map(([, , , error]) => (error === null ? high : Math.max(error, low))), tensors, borderWidth: 2, pointRadius: 2 })),
      },
      options: options({
        interaction: { mode: "index", intersect: false },
        scales: { x: axis("operators in order of execution", { ticks: { autoSkip: true, maxRotation: 60 } }), y: decades("relative error", power) },
        plugins: {
          tooltip: { callbacks: { label: ({ dataset: of, dataIndex }) => `${of.label}: ${number(of.tensors[dataIndex]?.[3] ?? NaN)} at ${of.tensors[dataIndex]?.[0].slice(0, 80)}` } },
        },
      }),
    }));
  }

  // Model Explorer's node data: values by the names of tensors, in the file's only graph.
  function forModelExplorer({ name, tensors }) {
    const results = Object.fromEntries(tensors.map(([tensor, , , error]) => [tensor, { value: error ?? 1e9 }]));
    const gradient = [{ stop: 0, bgColor: "#ffffff" }, { stop: 1, bgColor: "#d62728" }];
    const link = document.createElement("a");
    link.download = `${name}.node_data.json`;
    link.href = URL.createObjectURL(new Blob([JSON.stringify({ main: { results, gradient } })], { type: "application/json" }));
    link.textContent = link.download;
    return link;
  }

  if (errors.length) {
    byOperator(errors);
    const place = document.getElementById("for-model-explorer");
    for (const [number, found] of errors.entries()) place.append(number ? ", " : " ", forModelExplorer(found));
  }

  for (const snippet of document.querySelectorAll("pre.snippet")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.className = "copy";
    button.setAttribute("aria-label", `Copy: ${snippet.getAttribute("aria-label") ?? "this text"}`);
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(snippet); // where the clipboard is closed to the page, one key is left to press
      try {
        await navigator.clipboard.writeText(snippet.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected";
      }
    });
    snippet.before(button);
  }
  // What a link leads to is opened, and paper has everything.
  const show = () => { const found = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details"); if (found) found.open = true; };
  addEventListener("hashchange", show);
  show();
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
  document.documentElement.dataset.ready = "all";
})();
