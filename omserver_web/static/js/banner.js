// The line under the top that says what is wrong right now.

const banner = document.getElementById("banner");

/** Show *sentence*, or nothing when it is empty. */
export function say(sentence) {
  if (!banner) return;
  banner.querySelector(".words").textContent = sentence;
  banner.hidden = !sentence;
}
