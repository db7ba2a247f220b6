// Rows that lead somewhere are links as a whole; filters are sent as soon as they are chosen.

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (!row || event.defaultPrevented || event.target.closest("a, button, input, label, summary, pre")) return;
  if (String(getSelection())) return;
  const link = row.querySelector("a.title") ?? row.querySelector("a");
  link?.click();
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-send]")) event.target.form.requestSubmit();
});

// A list that renews itself waits while somebody goes through it by keyboard.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target.id === "job-list" && event.target.querySelector("tr:focus, a:focus")) event.detail.shouldSwap = false;
});
