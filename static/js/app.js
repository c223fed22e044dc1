// What every page has: word of a lost connection while a page polls.
const lost = document.getElementById("connection-lost");

function show(isLost) {
  if (lost) lost.hidden = !isLost;
}

document.addEventListener("htmx:sendError", () => show(true));
document.addEventListener("htmx:responseError", () => show(true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) show(false);
});
