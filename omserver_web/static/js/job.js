// A job while it runs: rows come in as they arrive, where they stand; the reading position stays.

import { refresh } from "./times.js";
import { say } from "./banner.js";
import { word } from "./words.js";

const panel = document.getElementById("rows-panel");
const AGAIN = 3000; // milliseconds between questions where streams do not work

let since = Number(panel?.dataset.event ?? 0);
let over = !panel || panel.dataset.live === undefined;
let source = null;
let timer = 0;

function piece(html) {
  const box = document.createElement("template");
  box.innerHTML = html;
  return box.content.firstElementChild;
}

// The counts, the head and the buttons are replaced only when they say something new, and an open menu stays open.
const shown = new Map();
function replace(id, html) {
  if (shown.get(id) === html) return;
  shown.set(id, html);
  const old = document.getElementById(id);
  const fresh = piece(html);
  if (old.querySelector("details[open]") && fresh.querySelector("details")) return;
  if (old.contains(document.activeElement) && document.activeElement !== document.body) return;
  old.replaceWith(fresh);
}

function wanted(row) {
  const state = panel.dataset.state;
  return !state || row.state === state;
}

function place(row) {
  const table = panel.querySelector("table");
  const old = document.getElementById(`host-${row.id}`);
  if (!old && !wanted(row)) return;
  const fresh = piece(`<table>${row.html}</table>`).tBodies[0];
  if (old) {
    const open = old.querySelector(".detail[data-opened]");
    if (old.dataset.state !== row.state) fresh.classList.add("new");
    old.replaceWith(fresh);
    if (open) toggle(fresh);
    return;
  }
  fresh.classList.add("new");
  const after = [...table.tBodies].find((body) => Number(body.dataset.id) > row.id);
  if (after) after.before(fresh);
  else if (!document.querySelector("[rel=next]")) table.append(fresh);
  panel.querySelector(".empty")?.remove();
}

function take(news) {
  say("");
  since = news.event;
  over = news.over;
  replace("job-head", news.head);
  replace("job-counts", news.counts);
  replace("job-actions", news.actions);
  news.rows.forEach(place);
  refresh();
  if (over) stop();
}

function stop() {
  source?.close();
  source = null;
  clearTimeout(timer);
}

async function poll() {
  if (over || document.hidden) return;
  try {
    const address = new URL(panel.dataset.changes, location);
    address.searchParams.set("since", since);
    const answer = await fetch(address, { headers: { "X-Requested-With": "fetch" } });
    if (answer.status === 401) return location.reload();
    if (answer.ok) take(await answer.json());
    else say(word("down"));
  } catch {
    say(word("lost"));
  }
  timer = setTimeout(poll, AGAIN);
}

function listen() {
  if (over || source || document.hidden) return;
  const address = new URL(panel.dataset.events, location);
  address.searchParams.set("since", since);
  source = new EventSource(address);
  source.addEventListener("news", (event) => take(JSON.parse(event.data)));
  source.addEventListener("down", () => say(word("down")));
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return say(word("lost"));
    source = null;
    poll();
  });
  source.addEventListener("open", () => say(""));
}

// A row opens to what the host printed; its address is the page of that host in this job.
async function toggle(body) {
  const old = body.querySelector(".detail");
  if (old) return old.remove();
  const row = document.createElement("tr");
  row.className = "detail";
  row.dataset.opened = "";
  const cell = row.insertCell();
  cell.colSpan = 5;
  body.append(row);
  const answer = await fetch(body.dataset.part, { headers: { "X-Requested-With": "fetch" } });
  if (answer.status === 401) return location.reload();
  cell.innerHTML = await answer.text();
}

function openRow(event) {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const row = event.target.closest(".result > tr[data-href]");
  if (!row || event.target.closest("button, pre") || String(getSelection())) return;
  if (row.dataset.open === undefined || panel.querySelector("table.opened")) {
    if (event.target.closest("a")) return;
  }
  event.preventDefault();
  if (row.dataset.open === undefined) return;
  const body = row.parentElement;
  toggle(body);
  history.replaceState(null, "", body.querySelector(".detail") ? `#${body.id}` : location.pathname + location.search);
}

function openWanted() {
  const body = location.hash.startsWith("#host-") ? document.getElementById(location.hash.slice(1)) : null;
  if (!body) return;
  if (!body.querySelector(".detail") && body.querySelector("[data-open]")) toggle(body);
  body.scrollIntoView({ block: "center" });
}

if (panel) {
  panel.addEventListener("click", openRow);
  openWanted();
  listen();
  // A tab that nobody sees keeps no stream: browsers have few connections for each server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else listen();
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", listen);
}
