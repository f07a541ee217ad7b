"use strict";
// What both pages need to draw: colours of the page's own scheme, numbers as the tables write them, defaults for Chart.js.
window.LiteFerry = (() => {
  const SHAPES = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "rectRounded", "cross"];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function series(index) {
    return { colour: colour(`series-${index % 8}`), shape: SHAPES[index % SHAPES.length] };
  }

  function value(raw) {
    if (typeof raw !== "string") return raw;
    return { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity }[raw] ?? null;
  }

  function number(raw) {
    const parsed = value(raw);
    if (parsed === null || parsed === undefined) return "–";
    if (Number.isNaN(parsed)) return "NaN";
    if (!Number.isFinite(parsed)) return parsed > 0 ? "∞" : "-∞";
    if (Number.isInteger(parsed)) return parsed.toLocaleString("en");
    const size = Math.abs(parsed);
    if (size < 1e-3 || size >= 1e6) return parsed.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
    return String(Number(parsed.toPrecision(size < 0.1 ? 3 : 4)));
  }

  function bytes(raw) {
    if (raw === null || raw === undefined) return "–";
    let count = raw;
    let unit = "B";
    for (const next of ["kB", "MB", "GB", "TB", "PB"]) {
      if (Math.round(count) < 1000) break;
      count /= 1000;
      unit = next;
    }
    if (unit === "B") return `${Math.round(count)} B`;
    return `${Math.round(count * 10) / 10 < 10 ? count.toFixed(1) : Math.round(count)} ${unit}`;
  }

  // Rounded down, as the tables do: only 1 is "100 %".
  function share(raw) {
    if (raw === null || raw === undefined) return "–";
    if (raw >= 1) return "100 %";
    return `${Number(Math.min(Math.floor(raw * 10000 + 1e-9) / 100, 99.99).toPrecision(4))} %`;
  }

  // Draws again when the reader's colour scheme changes: canvases do not follow the style sheet.
  function draw(id, configure) {
    const canvas = document.getElementById(id);
    if (!canvas || typeof Chart === "undefined") return null;
    let chart = null;
    const again = () => {
      chart?.destroy();
      Chart.defaults.color = colour("quiet");
      Chart.defaults.borderColor = colour("line");
      Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
      chart = new Chart(canvas, configure());
      canvas.dataset.drawn = "true";
    };
    again();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    return chart;
  }

  function options(changes) {
    const plugins = { legend: { labels: { usePointStyle: true, boxHeight: 7 } }, ...changes.plugins };
    return { animation: false, maintainAspectRatio: false, ...changes, plugins };
  }

  function axis(title, changes = {}) {
    return { title: { display: true, text: title }, ...changes };
  }

  // Of a logarithmic axis only the ticks at these digits are written, by default powers of ten: all of them are unreadable.
  function decades(title, written, digits = [1]) {
    const isWritten = (found) => digits.includes(Number(found.toExponential(0)[0])) && Number(found.toPrecision(1)) === found;
    return axis(title, {
      type: "logarithmic",
      grid: { color: ({ tick }) => (tick && isWritten(tick.value) ? colour("line") : "transparent") },
      ticks: { callback: (found) => (isWritten(found) ? written(found) : ""), autoSkip: false, maxRotation: 0 },
    });
  }

  function power(found) {
    return `1e${Math.round(Math.log10(found))}`;
  }

  function drawErrors(found) {
    draw("chart-errors", () => ({
      type: "bar",
      data: {
        labels: found.labels,
        datasets: found.series.map(({ name, counts }, index) => ({ label: name, data: counts, backgroundColor: series(index).colour, stack: "all" })),
      },
      options: options({ scales: { x: axis("largest difference, at least", { stacked: true }), y: axis("variants", { stacked: true, ticks: { precision: 0 } }) } }),
    }));
  }

  // Chart.js would cut long codes off.
  function widest(scale, labels) {
    return Math.min(scale.chart.width * 0.65, Math.max(...labels.map((label) => scale.ctx.measureText(label).width)));
  }

  function drawReasons(found, pick) {
    draw("chart-reasons", () => ({
      type: "bar",
      data: { labels: found.labels, datasets: [{ data: found.counts, backgroundColor: colour("bad"), maxBarThickness: 22 }] },
      options: options({
        indexAxis: "y",
        scales: {
          x: axis("models", { ticks: { precision: 0 } }),
          y: { ticks: { autoSkip: false }, afterFit: (scale) => { scale.width = widest(scale, found.labels) + 18; } },
        },
        plugins: { legend: { display: false } },
        onClick: (_, hits) => {
          if (hits[0]) pick(found.labels[hits[0].index]);
        },
      }),
    }));
  }

  return { drawErrors, drawReasons, colour, series, value, number, bytes, share, draw, options, axis, decades, power };
})();
