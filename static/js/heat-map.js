// The heat map of a cell: a link without this script, a switch over the crop with it.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-heat-map]");
  if (!link) return;
  event.preventDefault();
  const picture = link.closest(".cell").querySelector("[data-crop]");
  const pressed = link.getAttribute("aria-pressed") === "true";
  if (pressed) {
    picture.src = picture.dataset.crop;
    link.setAttribute("aria-pressed", "false");
    return;
  }
  const message = link.parentElement.querySelector("[role=status]");
  message.textContent = "Looking…";
  const response = await fetch(link.href).catch(() => null);
  if (response && response.redirected) {
    message.textContent = "Your session has ended. Log in again.";
  } else if (response && response.ok) {
    picture.src = URL.createObjectURL(await response.blob());
    link.setAttribute("aria-pressed", "true");
    message.textContent = "";
  } else {
    message.textContent = response && response.status === 503
      ? await response.text()
      : "The heat map cannot be shown. Reload the page and try again.";
  }
});

// The script is there, so the link becomes a switch; htmx brings new ones while results arrive.
function makeSwitches() {
  for (const link of document.querySelectorAll("[data-heat-map]:not([aria-pressed])")) {
    link.setAttribute("role", "button");
    link.setAttribute("aria-pressed", "false");
  }
}
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches("[data-heat-map]")) {
    event.preventDefault();
    event.target.click();
  }
});
document.addEventListener("htmx:afterSwap", makeSwitches);
makeSwitches();
