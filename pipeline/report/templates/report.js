"use strict";
(() => {
  const root = document.documentElement;

  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const switches = Array.from(document.querySelectorAll("button[data-marks]"));
  for (const button of switches) {
    button.addEventListener("click", () => {
      root.dataset.marks = button.dataset.marks;
      for (const other of switches) {
        other.setAttribute("aria-pressed", String(other.dataset.marks === button.dataset.marks));
      }
    });
  }

  document.addEventListener("click", (event) => {
    const crop = event.target.closest(".crop");
    if (crop) crop.setAttribute("aria-expanded", String(crop.getAttribute("aria-expanded") !== "true"));
  });

  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows).map((row, place) => ({
    row,
    place,
    card: document.getElementById(`slide-${row.dataset.id}`),
    text: `${row.textContent} ${row.dataset.id}`.toLowerCase(),
    flags: row.dataset.flags.split("|"),
    index: row.dataset.index === undefined ? null : Number(row.dataset.index),
  }));
  const filter = document.getElementById("filter");
  const low = document.getElementById("low");
  const high = document.getElementById("high");
  const shown = document.getElementById("shown");
  const clear = document.getElementById("clear");
  const chips = Array.from(document.querySelectorAll("button[data-filter]"));

  const pressed = (kind) => chips
    .filter((chip) => chip.dataset.filter === kind && chip.getAttribute("aria-pressed") === "true")
    .map((chip) => chip.dataset.value);

  const apply = () => {
    const words = filter.value.trim().toLowerCase();
    const statuses = pressed("status"), flags = pressed("flag");
    const from = low.value === "" ? null : Number(low.value);
    const to = high.value === "" ? null : Number(high.value);
    const range = from !== null || to !== null;
    let count = 0;
    for (const { row, card, text, flags: own, index } of rows) {
      const wanted = text.includes(words)
        && (!statuses.length || statuses.includes(row.dataset.status))
        && (!flags.length || flags.some((flag) => own.includes(flag)))
        && (!range || (index !== null && index >= (from ?? 0) && index <= (to ?? 100)));
      row.hidden = !wanted;
      if (card) card.hidden = !wanted;
      count += wanted;
    }
    const filtered = words || statuses.length || flags.length || range;
    clear.hidden = !filtered;
    shown.textContent = filtered ? `${count} of ${rows.length} shown` : "";
    document.getElementById("empty").hidden = count > 0;
  };
  for (const input of [filter, low, high]) input.addEventListener("input", apply);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  }
  clear.addEventListener("click", () => {
    for (const input of [filter, low, high]) input.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    apply();
    filter.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/INPUT|SELECT/.test(document.activeElement.tagName)) {
      event.preventDefault();
      filter.focus();
    }
    if (event.key === "Escape" && document.activeElement === filter && filter.value) {
      filter.value = "";
      apply();
    }
  });

  const heads = Array.from(table.tHead.rows[0].cells);
  const value = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const compare = (kind, a, b) => {
    // what is not known comes last, whichever way the others go
    if (a === "" || b === "") return { last: (a === "") - (b === "") };
    return { turn: kind === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }) };
  };
  heads.forEach((head, column) => {
    const kind = head.dataset.kind;
    if (!kind) return;
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = rows.slice().sort((left, right) => {
        const { last, turn } = compare(kind, value(left.row, column), value(right.row, column));
        return (last ?? (down ? -turn : turn)) || left.place - right.place;
      });
      body.append(...order.map((entry) => entry.row));
    });
  });
  apply();  // a browser that goes back keeps what was typed
})();
