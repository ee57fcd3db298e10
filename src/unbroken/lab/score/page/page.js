// The facts of the cell under the pointer or the focus; arrow keys walk over the map.
(() => {
  const map = document.querySelector(".map"), panel = document.getElementById("details");
  const rows = [...map.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
  let here = null, pinned = false;
  const text = (tag, words, name) => {
    const node = document.createElement(tag);
    node.textContent = words;
    if (name) node.className = name;
    return node;
  };
  const show = (cell) => {
    if (!cell || cell === here) return;
    here?.classList.remove("here");
    here = cell;
    cell.classList.add("here");
    const d = cell.dataset, first = document.createElement("p");
    first.append(
      text("span", cell.querySelector("i").textContent, "mark " + cell.className.replace("here", "")),
      text("b", d.verdict), text("span", " · " + d.row + " · "), text("code", d.scenario));
    const lines = [first];
    for (const key of ["told", "numbers", "life"]) if (d[key]) lines.push(text("p", d[key], key === "life" ? "quiet" : ""));
    if (d.plan) { const p = text("p", "", "quiet"); p.append("model ", text("code", d.plan)); lines.push(p); }
    panel.replaceChildren(...lines);
  };
  const place = (cell) => {
    const y = rows.findIndex((row) => row.includes(cell));
    return [y, y < 0 ? -1 : rows[y].indexOf(cell)];
  };
  const focus = (cell) => {
    map.querySelector('td[tabindex="0"]')?.setAttribute("tabindex", "-1");
    cell.tabIndex = 0;
    cell.focus();
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  map.addEventListener("mouseover", (e) => { if (!pinned) show(e.target.closest("td")); });
  map.addEventListener("focusin", (e) => show(e.target.closest("td")));
  map.addEventListener("click", (e) => {
    const cell = e.target.closest("td");
    if (cell) { pinned = !(pinned && cell === here); focus(cell); show(cell); }
  });
  map.addEventListener("keydown", (e) => {
    const [y, x] = place(e.target), step = {
      ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
      Home: [0, -x], End: [0, rows[0].length - 1 - x],
    }[e.key];
    if (y < 0 || !step) return;
    e.preventDefault();
    const to = rows[y + step[0]]?.[x + step[1]];
    if (to) focus(to);
  });
})();
