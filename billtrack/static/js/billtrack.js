/* What pages do better with JavaScript; none of them needs it. */

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  const field = document.querySelector('input[type="search"]');
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

/* What is being pressed must still be there when it is released, or the click is lost: a message
   that goes moves the button below it. Answers wait that long, and a little longer for a
   finger, whose click comes after it was lifted. */
let released = Promise.resolve();

document.addEventListener("pointerdown", () => {
  released = new Promise((resolve) => {
    const wait = () => setTimeout(resolve, 50);
    for (const end of ["pointerup", "pointercancel"]) {
      document.addEventListener(end, wait, { once: true });
    }
  });
});

document.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
  const answered = xhr.onload;
  xhr.onload = () => released.then(answered);
});

/* What asks for itself again and again stays silent in a tab that nobody sees, and catches up
   at once when somebody does. A filter in hx-trigger would need eval, which pages refuse. */
const polling = '[hx-trigger^="every "]';

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.detail.elt.matches(polling)) event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll(polling)) {
    const isPart = element.parentElement.closest(polling); // comes with what it is a part of
    if (!isPart) htmx.ajax("GET", element.getAttribute("hx-get"), { source: element });
  }
});

/* On a phone the navigation is a row that scrolls: begin where the reader is. */
const here = document.querySelector(".nav-link[aria-current]");
const row = here?.closest(".nav-list");
if (row) {
  const [inner, outer] = [here, row].map((element) => element.getBoundingClientRect());
  row.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
}
