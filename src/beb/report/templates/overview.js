"use strict";
(() => {
  // Finite numbers in order, then infinite ones, then missing ones, whichever way the order goes.
  const rank = (text) => (text === "" ? 2 : Number.isFinite(Number(text)) ? 0 : 1);
  const value = (text) => Number(text.replace("inf", "Infinity"));
  const letters = new Intl.Collator(undefined, { numeric: true });

  const orders = {
    number: (a, b, sign) => {
      if (rank(a) !== rank(b)) return rank(a) - rank(b);
      const [x, y] = [value(a), value(b)];
      return rank(a) === 2 || x === y ? 0 : sign * (x < y ? -1 : 1);
    },
    text: (a, b, sign) => sign * letters.compare(a, b),
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const said = table.closest("section").querySelector("[data-sorted]");
    const given = [...body.rows];

    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction);
        const order = orders[button.dataset.kind];
        const sign = direction === "ascending" ? 1 : -1;
        const key = (row) => row.cells[column].dataset.sort;
        body.append(...[...given].sort((a, b) => order(key(a), key(b), sign)));
        said.textContent = `Sorted by ${button.querySelector(".name").textContent}, ${direction}.`;
      });
    });
  }
})();
