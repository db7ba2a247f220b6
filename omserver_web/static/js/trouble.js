// When the console or the master is away: say so, try again, and say when it is back.

import { say } from "./banner.js";
import { word } from "./words.js";

const AGAIN = 3000;

async function wait(address) {
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (answer.ok) return location.replace(location.href);
  } catch {
    // the console itself is away: go on waiting
  }
  setTimeout(wait, AGAIN, address);
}

const waiting = document.querySelector("[data-wait-for]");
if (waiting) setTimeout(wait, AGAIN, waiting.dataset.waitFor);

// An answer with a reason is shown; htmx swaps in good answers only.
document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  if (xhr.getResponseHeader("HX-Redirect")) return;
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  say(page.querySelector(".note")?.textContent.trim() || word("refused"));
});
// A question that a newer one takes the place of is no error: htmx would write two lines of them about each.
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  const { xhr } = detail;
  const abort = xhr.abort;
  xhr.abort = () => { detail.error = ""; abort.call(xhr); };
});
document.addEventListener("htmx:sendError", () => say(word("lost")));
document.addEventListener("htmx:afterOnLoad", () => say(""));
