"use strict";
// The index page: one row for each model, one column for each variant (DataTables). What the cells show is the reader's choice.
(() => {
  const block = document.getElementById("fleet-data");
  if (!block) return;
  const data = JSON.parse(block.textContent);
  const form = document.getElementById("matrix-controls");
  const field = (name) => form.elements.namedItem(name);
  const { read, columns, SHOWN } = window.LiteFerry.cells(data.variants, data.table.metrics, () => field("cells").value);
  const models = read(data.table);
  for (const [name, [sorted]] of SHOWN) {
    if (name !== "size" && !models.some((model) => [...model.cells.values()].some((cell) => (sorted(cell) ?? null) !== null))) SHOWN.delete(name);
  }
  for (const name of SHOWN.keys()) field("cells").append(new Option(name, name));

  // What is not known stands last in either direction; NaN is worse than any number.
  function compare(direction) {
    return (left, right) => {
      if (left === null || right === null) return (left === null) - (right === null);
      if (typeof left === "string") return direction * left.localeCompare(right, "en", { numeric: true });
      const [one, other] = [left, right].map((found) => (Number.isNaN(found) ? Infinity : found));
      return one === other ? 0 : direction * (one < other ? -1 : 1);
    };
  }

  function wanted() {
    const words = field("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = field("verdict").value;
    return (model) => (!status || model.status === status) && words.every((word) => model.text.includes(word));
  }

  DataTable.type("shown", { order: { asc: compare(1), desc: compare(-1) } });
  let matches = wanted();
  const table = new DataTable("#matrix", {
    data: models, columns, autoWidth: false, deferRender: true, pageLength: 50, lengthMenu: [50, 200, 1000], order: [[1, "asc"], [0, "asc"]],
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
    language: { info: "_START_ to _END_ of _TOTAL_ models", infoFiltered: "(of _MAX_ in all)", infoEmpty: "No model", zeroRecords: "No model matches these filters.", lengthMenu: "_MENU_ models a page" },
  });
  table.search.fixed("filters", (_, model) => matches(model));
  form.addEventListener("input", (event) => {
    matches = wanted();
    if (event.target.name === "cells") table.rows().invalidate("data");
    table.draw();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  let length = null;
  addEventListener("beforeprint", () => { if (models.length <= 2000) { length = table.page.len(); table.page.len(-1).draw(); } });
  addEventListener("afterprint", () => { if (length !== null) table.page.len(length).draw(); length = null; });
})();
