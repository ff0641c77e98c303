"use strict";
// What is nearest to the pointer says what it is.
const tip = document.getElementById("tip");
for (const plot of document.querySelectorAll("svg.plot")) {
  let last = null;
  const leave = () => { last?.classList.remove("near"); last = null; tip.hidden = true; };
  plot.addEventListener("mouseleave", leave);
  plot.addEventListener("mousemove", (event) => {
    let best = null, least = 40;
    for (const mark of plot.querySelectorAll("[data-tip]")) {
      const box = mark.getBoundingClientRect();
      if (box.width === 0 && getComputedStyle(mark.parentNode).display === "none") continue;
      const dx = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const dy = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      const far = Math.hypot(dx, dy);
      if (far < least) { least = far; best = mark; }
    }
    if (best !== last) { leave(); last = best; best?.classList.add("near"); }
    if (!best) return;
    tip.textContent = best.dataset.tip;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.min(event.clientX + 14, innerWidth - box.width - 8) + "px";
    tip.style.top = (event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18) + "px";
  });
}
// Modes on and off.
for (const button of document.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => {
    button.classList.toggle("off", document.body.classList.toggle("no-" + button.dataset.mode));
  });
}
// Tables in order of a column: numbers by size, again for the other way round.
for (const heading of document.querySelectorAll("th")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
    const sign = heading.dataset.up === "1" ? -1 : 1;
    heading.dataset.up = sign === 1 ? "1" : "";
    const key = (row) => row.cells[column].textContent;
    const order = (a, b) => {
      const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
      return isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
    };
    body.append(...[...body.rows].sort((a, b) => sign * order(a, b)));
  });
}
