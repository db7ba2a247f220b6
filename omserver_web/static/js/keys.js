// Keys: "/" search, "g j" and friends to go, "j" "k" rows, "x" pick, Enter open, Esc back.

const PLACES = { r: "/run", j: "/jobs", h: "/hosts", m: "/modules", a: "/audit" };
const CHORD = 1200; // milliseconds between the two keys

let going = 0;

function typing(target) {
  return target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

function rows() {
  return [...document.querySelectorAll("[data-list] tr[data-href], [data-list] .row")].filter((row) => row.offsetParent);
}

function move(step) {
  const all = rows();
  const now = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  if (!next) return;
  (next.querySelector(":scope > input") ?? next).focus();
  next.scrollIntoView({ block: "nearest" });
}

function pick(target) {
  const box = target.closest("tr, .row")?.querySelector("input[type=checkbox], input[type=radio]");
  box?.click();
}

function escape(target) {
  const open = [...document.querySelectorAll("details.menu[open], details.more[open]")];
  if (open.length) return open.forEach((menu) => { menu.open = false; });
  if (typing(target)) return target.blur();
  const up = document.querySelector("[data-back]") ?? document.querySelector(".crumbs a");
  if (up) up.click();
}

function plain(event) {
  if (event.key === "/") return document.getElementById("search")?.focus();
  if (event.key === "g") { going = Date.now(); return; }
  if (event.key === "j") return move(1);
  if (event.key === "k") return move(-1);
  if (event.key === "x") return pick(event.target);
  if (event.key === "Enter" && event.target.matches("tr[data-href]")) return event.target.click();
  return "not ours";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape") return escape(event.target);
  if (typing(event.target)) return;
  const place = Date.now() - going < CHORD ? PLACES[event.key] : null;
  going = 0;
  if (place) location.assign(place);
  else if (plain(event) === "not ours") return;
  event.preventDefault();
});

// A click elsewhere closes a menu.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open], details.more[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
