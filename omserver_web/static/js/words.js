// Sentences that script says, in the language of the page.

const store = document.getElementById("words");

/** The sentence *name* of the page's language. */
export function word(name) {
  return store?.dataset[name] ?? "";
}
