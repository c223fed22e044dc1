// What every page has: word of a lost connection while a page polls, and bars that show where one is.
const lost = document.getElementById("connection-lost");

function show(isLost) {
  if (lost) lost.hidden = !isLost;
}

// On a narrow window the bars scroll: the page that is open is in sight.
for (const link of document.querySelectorAll(".nav [aria-current], .tabs [aria-current]")) {
  const bar = link.parentElement;
  bar.scrollLeft = link.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
}

document.addEventListener("htmx:sendError", () => show(true));
document.addEventListener("htmx:responseError", () => show(true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) show(false);
});
