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
const fields = form.querySelectorAll("input[type=text]");
const boxes = form.querySelectorAll("input[type=checkbox]");

let chosen = []; // {file, item, state: "ready" | "sending" | "sent" | "refused"}
let finished = false; // the list shows a batch that was sent; the next choice begins a new one
let sending = false; // what is typed and chosen belongs to the batch that is on its way
let shown = null; // the sample whose results are below

function choose(files) {
  if (sending) {
    summary.textContent = "These images are still being sent. Choose the next ones after that.";
    return;
  }
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

// A new list is a new batch: it may be another patient's.
function startOver() {
  chosen = [];
  finished = false;
  form.elements.batch.value = crypto.randomUUID ? crypto.randomUUID() : uuid();
  list.replaceChildren();
  update();
}

function update() {
  const ready = chosen.filter((entry) => entry.state === "ready").length;
  const tooMany = ready > Number(form.dataset.maxFiles);
  send.disabled = sending || ready === 0 || tooMany;
  input.disabled = clear.disabled = sending;
  for (const field of fields) field.readOnly = sending;
  for (const box of boxes) box.disabled = sending;
  if (tooMany) summary.textContent = `At most ${form.dataset.maxFiles} at once: remove some.`;
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

function post(entry, values) {
  const data = new FormData();
  for (const [name, value] of values) data.append(name, value);
  // Logging in again in another tab has changed the token, and this page can go on with the new.
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  if (token) data.set("csrfmiddlewaretoken", token[1]);
  data.set("images", entry.file, entry.file.name);
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

// Returns what stops the whole batch ("error"), or the sample that took the file.
async function sendOne(entry, values) {
  if (entry.file.size > maxBytes) {
    entry.state = "refused";
    say(entry, "refused", `Larger than ${form.dataset.maxMb} MB. Save it as JPEG, or crop it.`);
    return {};
  }
  // A folder that was dropped looks like a file until it is read.
  const readable = await entry.file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  if (!readable) {
    entry.state = "refused";
    say(entry, "refused", "This cannot be read: a folder, or a file that has gone since.");
    return {};
  }
  const answer = await post(entry, values);
  const file = answer.files && answer.files[0];
  if (!file) {
    entry.state = "ready"; // nothing is lost: it can be sent again
    entry.item.querySelector("[data-remove]").hidden = false;
    entry.item.querySelector("progress").hidden = true;
    return { error: answer.error || "The server could not take it." };
  }
  entry.state = file.outcome === "refused" ? "refused" : "sent";
  say(entry, file.outcome, [file.sentence, file.warning].filter(Boolean).join(" "));
  return { sample: answer.sample };
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const values = [...new FormData(form)].filter(([name]) => name !== "images");
  const waiting = chosen.filter((entry) => entry.state === "ready");
  if (sending || waiting.length === 0) return;
  summary.textContent = `Sending ${waiting.length} ${waiting.length === 1 ? "image" : "images"}…`;
  sending = true;
  update();
  let sample = null;
  let error = "";
  const lane = async () => {
    while (waiting.length > 0 && !error) {
      const entry = waiting.shift();
      if (!chosen.includes(entry)) continue; // removed meanwhile
      const answer = await sendOne(entry, values);
      error = answer.error || error;
      sample = answer.sample || sample;
      // The results poll while something is pending; when all was done already, ask anew.
      if (sample && (shown !== sample.id || !results.querySelector("[hx-get]"))) show(sample);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  if (sample) show(sample);
  sending = false;
  summarise(error, sample);
  update();
});

function summarise(error, sample) {
  const count = (state) => chosen.filter((entry) => entry.state === state).length;
  const [sent, refused, left] = ["sent", "refused", "ready"].map(count);
  const parts = [`${sent} received`];
  if (refused) parts.push(`${refused} refused`);
  if (left) parts.push(`${left} not sent`);
  summary.textContent = `${parts.join(", ")}. `;
  if (left) {
    summary.append(`${error} Press the button to send the rest.`);
  } else if (sent === 0) {
    summary.append("Choose other files; what you typed stays.");
    finished = true;
  } else {
    nextBatch();
    summary.append("Ready for the next batch. ");
    if (refused && sample) {
      const link = document.createElement("a");
      link.href = `${sample.url}`;
      link.textContent = `Open ${sample.accession_number} to add corrected files`;
      summary.append(link);
    }
  }
}

// The results of this batch stay below; the form is for the next one.
function nextBatch() {
  finished = true;
  for (const field of fields) field.value = "";
  for (const box of boxes) box.checked = false;
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
  shown = sample.id;
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
window.addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});
input.required = false; // the list counts, not the input, which is emptied after each choice
update();
choose([...input.files]); // what a quick person has chosen before this script was there
