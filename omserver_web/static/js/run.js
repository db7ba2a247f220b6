// The Run page: what is shown in the third pane is what will run, so while it is being checked it cannot be run.

import { word } from "./words.js";
import { say } from "./banner.js";

const SENT = "omserver.sent";
const pick = document.getElementById("pick");

function pane() {
  return document.getElementById("check");
}

// What is typed counts while it is typed: leaving the field (to press the button) changes nothing any more.
function stale(event) {
  if (event.target.matches(event.type === "input" ? ".typed" : ".affects, [name=module]")) pane().classList.add("stale");
}

// The pane brings what is wrong with which field; the field itself is not replaced, since somebody types there.
function placeErrors() {
  const wrong = new Map([...document.querySelectorAll("#field-errors > i")].map((note) => [note.dataset.field, note]));
  for (const field of document.querySelectorAll("#module-form [data-field]")) {
    const note = wrong.get(field.dataset.field);
    const text = note?.textContent ?? "";
    field.classList.toggle("wrong", Boolean(text));
    const words = field.querySelector(".wrong-words");
    if (words.textContent.trim() !== text) words.replaceChildren(...(note?.cloneNode(true).childNodes ?? []));
    field.querySelector("input, select, textarea")?.toggleAttribute("aria-invalid", Boolean(text));
  }
}

// The form of the picked module takes room from the list: what was picked stays in sight.
function showPicked(event) {
  if (event.target.id !== "module-form") return;
  document.querySelector("#module-list :checked")?.closest(".row").scrollIntoView({ block: "nearest" });
}

// Everything in the form that says what will run.
function content(form) {
  const fields = [...new FormData(form)].filter(([name]) => !["key", "csrf_token"].includes(name));
  return JSON.stringify(fields);
}

function sendOnce(event) {
  const form = event.target;
  if (form !== pane()) return;
  if (form.classList.contains("sent")) return event.preventDefault();
  form.classList.add("sent", "stale");
  sessionStorage.setItem(SENT, JSON.stringify({ content: content(form), key: form.elements.key.value }));
}

// Back from a job, and the button once more: the same form has the same key, so it leads to the same job.
function comeBack() {
  const form = pane();
  form.classList.remove("sent", "stale");
  const sent = JSON.parse(sessionStorage.getItem(SENT) ?? "null");
  const [visit] = performance.getEntriesByType("navigation");
  if (visit?.type === "back_forward" && form.elements.key && sent?.content === content(form)) form.elements.key.value = sent.key;
}

if (pick) {
  pick.addEventListener("input", stale);
  pick.addEventListener("change", stale);
  document.addEventListener("submit", sendOnce);
  document.addEventListener("htmx:afterSettle", placeErrors);
  document.addEventListener("htmx:afterSettle", showPicked);
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.error === "") return; // taken back: the next check is on its way
    if (!event.detail.successful && !event.detail.xhr?.getResponseHeader("HX-Redirect")) say(word("unchecked"));
    else say("");
  });
  addEventListener("pageshow", comeBack);
  // Enter in a field checks; only the button runs.
  pick.addEventListener("submit", (event) => event.preventDefault());
}
