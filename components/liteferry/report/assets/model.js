"use strict";
// A model's page: two charts for each output (Chart.js), and buttons that copy the snippets.
(() => {
  const { number, draw, options, axis, series, colour } = window.LiteFerry;
  const block = document.getElementById("model-data");
  const outputs = block ? JSON.parse(block.textContent).outputs : [];
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
  document.documentElement.dataset.ready = "all";
})();
