// The upload page: previews before sending, one request a file with its progress, and then the
// page is ready for the next batch. Without this script the form sends all files at once.
const form = document.getElementById("upload");
const input = form.querySelector("input[type=file]");
const drop = document.getElementById("drop");
const list = document.getElementById("files");
const send = form.querySelector("button[type=submit]");
const clear = document.getElementById("clear");
const summary = document.getElementById("upload-summary");
const results = document.getElementById("upload-results");
const template = document.getElementById("file-template");
const maxBytes = Number(form.dataset.maxMb) * 1024 * 1024;
const AT_ONCE = 2;

let chosen = []; // {file, item, state: "ready" | "sending" | "sent" | "refused"}
let finished = false; // the list shows a batch that was sent; the next choice begins a new one

function choose(files) {
  if (finished) startOver();
  for (const file of files) {
    const item = template.content.firstElementChild.cloneNode(true);
    item.querySelector(".file-name").textContent = file.name;
    item.querySelector("[data-size]").textContent = size(file.size);
    preview(item.querySelector(".file-preview img"), file);
    list.append(item);
    const entry = { file, item, state: "ready" };
    item.querySelector("[data-remove]").addEventListener("click", () => remove(entry));
    chosen.push(entry);
  }
  input.value = "";
  update();
}

// Browsers show JPEG, PNG and BMP, but no TIFF.
function preview(image, file) {
  const url = URL.createObjectURL(file);
  image.addEventListener("load", () => URL.revokeObjectURL(url));
  image.addEventListener("error", () => {
    URL.revokeObjectURL(url);
    image.replaceWith("no preview");
  }, { once: true });
  image.src = url;
}

function remove(entry) {
  chosen = chosen.filter((other) => other !== entry);
  entry.item.remove();
  update();
}

function startOver() {
  chosen = [];
  finished = false;
  list.replaceChildren();
  update();
}

function update() {
  const ready = chosen.filter((entry) => entry.state === "ready").length;
  send.disabled = ready === 0;
  send.textContent = ready === 0 ? "Analyse" : `Analyse ${ready} ${ready === 1 ? "image" : "images"}`;
  clear.hidden = chosen.length === 0;
}

function size(bytes) {
  return bytes < 1024 * 1024
    ? `${Math.max(1, Math.round(bytes / 1024))} KB`
    : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

function say(entry, outcome, sentence) {
  const badge = entry.item.querySelector(".badge");
  badge.hidden = false;
  badge.textContent = outcome;
  badge.className = `badge badge-${outcome}`;
  entry.item.querySelector("[data-sentence]").textContent = sentence;
  entry.item.querySelector("progress").hidden = true;
}

function post(entry) {
  const data = new FormData(form);
  data.delete("images");
  data.append("images", entry.file, entry.file.name);
  const bar = entry.item.querySelector("progress");
  bar.hidden = false;
  entry.item.querySelector("[data-remove]").hidden = true;
  entry.state = "sending";
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    });
    request.addEventListener("load", () => resolve(request.response || {}));
    request.addEventListener("error", () => resolve({ error: "The server cannot be reached." }));
    request.send(data);
  });
}

async function sendOne(entry) {
  if (entry.file.size > maxBytes) {
    entry.state = "refused";
    say(entry, "refused", `Larger than ${form.dataset.maxMb} MB. Save it as JPEG, or crop it.`);
    return null;
  }
  const answer = await post(entry);
  const file = answer.files && answer.files[0];
  if (!file) {
    entry.state = "ready"; // nothing is lost: it can be sent again
    entry.item.querySelector("[data-remove]").hidden = false;
    say(entry, "refused", answer.error || "The server could not take it. Try again.");
    return null;
  }
  entry.state = file.outcome === "refused" ? "refused" : "sent";
  say(entry, file.outcome, [file.sentence, file.warning].filter(Boolean).join(" "));
  return answer.sample;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const waiting = chosen.filter((entry) => entry.state === "ready");
  const count = waiting.length;
  send.disabled = clear.disabled = true;
  summary.textContent = `Sending ${count} ${count === 1 ? "image" : "images"}…`;
  let sample = null;
  const lane = async () => {
    while (waiting.length > 0) {
      sample = (await sendOne(waiting.shift())) || sample;
      // The results poll while something is pending; when all was done already, ask anew.
      if (sample && !results.querySelector("[hx-get]")) show(sample);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  clear.disabled = false;
  const left = chosen.filter((entry) => entry.state === "ready").length;
  const sent = chosen.filter((entry) => entry.state === "sent").length;
  const refused = chosen.filter((entry) => entry.state === "refused").length;
  summary.textContent = `${sent} received` + (refused ? `, ${refused} refused` : "") +
    (left ? `, ${left} not sent: press the button to try again` : ". Ready for the next batch.");
  if (left === 0) nextBatch();
  update();
});

// The results of this batch stay below; the form is for the next one.
function nextBatch() {
  finished = true;
  form.elements.batch.value = crypto.randomUUID ? crypto.randomUUID() : uuid();
  if (!form.elements.sample.value) {
    form.elements.accession_number.value = "";
    form.elements.patient_identifier.value = "";
  }
}

// crypto.randomUUID needs HTTPS or localhost; a laboratory's test host may have neither.
function uuid() {
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte, position) => {
    if (position === 6) byte = (byte & 0x0f) | 0x40;
    if (position === 8) byte = (byte & 0x3f) | 0x80;
    return byte.toString(16).padStart(2, "0");
  }).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function show(sample) {
  results.hidden = false;
  htmx.ajax("GET", sample.results_url, { target: results, swap: "innerHTML" });
}

input.addEventListener("change", () => choose(input.files));
clear.addEventListener("click", () => {
  startOver();
  summary.textContent = "";
});
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("drop-over");
  });
}
for (const name of ["dragleave", "drop"]) {
  drop.addEventListener(name, () => drop.classList.remove("drop-over"));
}
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  choose([...event.dataTransfer.files]);
});
// A file dropped beside the zone must not replace the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault());
}
input.required = false; // the list counts, not the input, which is emptied after each choice
update();
