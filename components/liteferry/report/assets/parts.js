"use strict";
// The index page of a fleet whose rows are in parts. The page holds every model's verdict and reason, one letter each; what a table
// row shows comes from a piece of a hundred models, what a search needs from a file for each part, both when they are needed.
// Files are loaded as scripts, which a page may do from a disk too; they hold nothing but JSON for `LiteFerry.take`.
(() => {
  const block = document.getElementById("fleet-data");
  if (!block) return;
  const { drawErrors, drawReasons } = window.LiteFerry;
  const data = JSON.parse(block.textContent);
  const form = document.getElementById("matrix-controls");
  const field = (name) => form.elements.namedItem(name);
  const { read, columns, SHOWN } = window.LiteFerry.cells(data.variants, data.metrics, () => field("cells").value);
  const RANK = { failed: 0, not_blessed: 1, unverifiable: 2, blessed: 3 };
  const DRAW_EVERY = 20;

  const waiting = new Map();
  window.LiteFerry.take = (name, value) => waiting.get(name)?.(value);

  const loaded = new Map();
  function load(name) {
    if (!loaded.has(name)) {
      loaded.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const end = (finish, found) => { waiting.delete(name); script.remove(); finish(found); };
        waiting.set(name, (value) => end(resolve, value));
        script.onerror = () => { loaded.delete(name); end(reject, new Error(`${data.folder}/${name} is missing`)); };
        script.src = `${data.folder}/${name}`;
        document.head.append(script);
      }));
    }
    return loaded.get(name);
  }

  // Where each piece and each part begins, in models.
  const begins = (counts) => counts.reduce((found, count) => [...found, found.at(-1) + count], [0]);
  const pieceAt = begins(data.pieces.map(([, count]) => count));
  const partAt = begins(data.parts.map(([, count]) => count));
  function pieceOf(position) {
    let [low, high] = [0, data.pieces.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (pieceAt[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  const codes = Uint16Array.from(data.verdicts, (letter) => letter.codePointAt(0) - data.letter);
  const ranks = data.kinds.map(([status, reason]) => `${RANK[status]} ${reason ?? ""}`);
  const order = Array.from(codes, (_, position) => position);
  order.sort((left, right) => (ranks[codes[left]] < ranks[codes[right]] ? -1 : ranks[codes[left]] > ranks[codes[right]] ? 1 : left - right));

  const pieces = new Map();
  async function modelAt(position) {
    const piece = pieceOf(position);
    if (!pieces.has(piece)) pieces.set(piece, read(await load(data.pieces[piece][0])));
    return pieces.get(piece)[position - pieceAt[piece]];
  }

  const texts = new Map();
  async function textsOf(part) {
    if (!texts.has(part)) {
      const { start, words, models } = await load(data.parts[part][0]);
      texts.set(part, models.map(([id, path, ...rest]) => [id, start + path, ...rest.map((at) => words[at])].join("\n").toLowerCase()));
    }
    return texts.get(part);
  }

  const told = document.getElementById("searched");
  let matching = order;
  let asked = 0;
  async function search(draw) {
    const mine = ++asked;
    const words = field("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [status, reason] = [field("verdict").value, field("reason").value];
    const fits = data.kinds.map(([of, code]) => (!status || of === status) && (!reason || code === reason));
    const candidates = order.filter((position) => fits[codes[position]]);
    told.textContent = "";
    if (!words.length) {
      matching = candidates;
      draw();
      return;
    }
    const found = new Uint8Array(codes.length);
    for (let part = 0; part < data.parts.length; part += 1) {
      let lines;
      try { lines = await textsOf(part); } catch (error) { told.textContent = `${error.message}: this search is not whole`; return; }
      if (mine !== asked) return;
      lines.forEach((line, place) => { found[partAt[part] + place] = words.every((word) => line.includes(word)) ? 1 : 0; });
      if ((part + 1) % DRAW_EVERY === 0 && part + 1 < data.parts.length) {
        told.textContent = `searched ${partAt[part + 1].toLocaleString("en")} of ${codes.length.toLocaleString("en")} models`;
        matching = candidates.filter((position) => found[position]);
        draw();
      }
    }
    told.textContent = "";
    matching = candidates.filter((position) => found[position]);
    draw();
  }

  if (!data.has_latency) SHOWN.delete("latency, ms");
  for (const name of SHOWN.keys()) field("cells").append(new Option(name, name));
  for (const code of [...new Set(data.kinds.map(([, reason]) => reason).filter(Boolean))].sort()) field("reason").append(new Option(code, code));

  const ready = () => { document.documentElement.dataset.ready = "all"; };
  const table = new DataTable("#matrix", {
    columns: columns.map((column) => ({ ...column, orderable: false })), serverSide: true, autoWidth: false, pageLength: 50, lengthMenu: [50, 200], ordering: false,
    ajax: async (request, give) => {
      const shown = matching.slice(request.start, request.start + request.length);
      let rows = [];
      try { rows = await Promise.all(shown.map(modelAt)); } catch (error) { told.textContent = error.message; }
      give({ draw: request.draw, recordsTotal: codes.length, recordsFiltered: matching.length, data: rows });
      ready();
    },
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
    language: { info: "_START_ to _END_ of _TOTAL_ models", infoFiltered: "(of _MAX_ in all)", infoEmpty: "No model", zeroRecords: "No model matches these filters.", lengthMenu: "_MENU_ models a page", processing: "" },
  });
  const again = () => search(() => table.draw());
  form.addEventListener("input", (event) => (event.target.name === "cells" ? table.draw(false) : again()));
  form.addEventListener("submit", (event) => event.preventDefault());
  setTimeout(() => {
    if (data.charts.errors) drawErrors(data.charts.errors);
    if (data.charts.reasons) drawReasons(data.charts.reasons, (code) => { field("reason").value = code; again(); document.getElementById("overview").scrollIntoView(); });
  });
})();
