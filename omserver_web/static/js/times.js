// Times stay true while a page is open, and the exact one is in the person's own zone.

const language = document.documentElement.lang;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function words(seconds) {
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.round(seconds / size), unit);
}

/** Say the times inside *root* anew. */
export function refresh(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.title = exact.format(moment);
    const said = time.dataset.exact === undefined ? words((moment - Date.now()) / 1000) : short.format(moment);
    if (time.textContent !== said) time.textContent = said;
  }
}

refresh();
setInterval(() => refresh(), 5000);
document.addEventListener("htmx:afterSettle", (event) => refresh(event.target));
