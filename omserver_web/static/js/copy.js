// Copy buttons; where the clipboard is out of reach the text is selected instead.

import { word } from "./words.js";

function textOf(button) {
  if (button.dataset.copy !== undefined) return button.dataset.copy;
  return document.getElementById(button.dataset.copyFrom)?.textContent ?? "";
}

async function put(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  event.preventDefault();
  await put(textOf(button));
  const was = button.title;
  button.classList.add("done");
  button.title = word("copied");
  setTimeout(() => { button.classList.remove("done"); button.title = was; }, 1200);
});
