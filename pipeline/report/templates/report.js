"use strict";
(() => {
  const table = document.getElementById("slides");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const filter = document.getElementById("filter");
  const status = document.getElementById("status");
  const shown = document.getElementById("shown");

  const apply = () => {
    const words = filter.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const card = document.getElementById(row.dataset.card);
      const text = (row.textContent + row.querySelector("a").title).toLowerCase();
      const wanted = (!status.value || row.dataset.status === status.value) && text.includes(words);
      row.hidden = card.hidden = !wanted;
      count += wanted;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  };
  filter.addEventListener("input", apply);
  status.addEventListener("change", apply);

  const heads = Array.from(table.tHead.rows[0].cells);
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort === undefined ? cell.textContent : cell.dataset.sort;
  };
  heads.forEach((head, column) => {
    const kind = head.dataset.kind;
    if (!kind) return;
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = rows.slice().sort((left, right) => {
        const a = value(left, column), b = value(right, column);
        const turn = kind === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return down ? -turn : turn;
      });
      body.append(...order);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
})();
