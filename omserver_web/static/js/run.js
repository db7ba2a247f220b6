// The Run page: what is shown in the third pane is what will run, so while it is being checked it cannot be run.

import { word } from "./words.js";
import { say } from "./banner.js";

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
  const wrong = new Map([...document.querySelectorAll("#field-errors > i")].map((note) => [note.dataset.field, note.textContent]));
  for (const field of document.querySelectorAll("#module-form [data-field]")) {
    const text = wrong.get(field.dataset.field) ?? "";
    field.classList.toggle("wrong", Boolean(text));
    const words = field.querySelector(".wrong-words");
    if (words.textContent.trim() !== text) words.textContent = text;
    field.querySelector("input, select, textarea")?.toggleAttribute("aria-invalid", Boolean(text));
  }
}

function sendOnce(event) {
  if (event.target !== pane()) return;
  if (event.target.classList.contains("sent")) event.preventDefault();
  event.target.classList.add("sent", "stale");
}

if (pick) {
  pick.addEventListener("input", stale);
  pick.addEventListener("change", stale);
  document.addEventListener("submit", sendOnce);
  document.addEventListener("htmx:afterSettle", placeErrors);
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful && !event.detail.xhr?.getResponseHeader("HX-Redirect")) say(word("unchecked"));
    else say("");
  });
  // Back from a job: the browser shows the old form, which may be sent again (and makes no second job).
  addEventListener("pageshow", () => pane().classList.remove("sent", "stale"));
  // Enter in a field checks; only the button runs.
  pick.addEventListener("submit", (event) => event.preventDefault());
}
