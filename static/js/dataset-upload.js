// The upload of a dataset: announced with its form, sent in pieces, and finished. What has arrived
// stays on the server for a day, so that a lost connection or a reload goes on where it stopped.
// Without this script the form sends a small archive in one go.
const form = document.getElementById("dataset-upload");
const input = document.getElementById("id_archive");
const drop = document.getElementById("drop");
const dataset = document.getElementById("id_dataset");
const ofNew = document.getElementById("new-dataset");
const send = form.querySelector("button[type=submit]");
const pause = document.getElementById("upload-pause");
const discard = document.getElementById("upload-discard");
const problem = document.getElementById("upload-error");
const progress = document.getElementById("upload-progress");
const bar = progress.querySelector("progress");
const status = progress.querySelector("[role=status]");
// Not form.dataset: a field of this form has that name.
const announceUrl = form.getAttribute("data-announce-url");
const pieceBytes = Number(form.getAttribute("data-piece-bytes"));
const maxBytes = Number(form.getAttribute("data-max-bytes"));
const WAITS = [1, 2, 4, 8, 15]; // seconds before a piece is sent again; the last one for ever

let sending = false;
let paused = false;
let upload = null; // what the server said of the announced file
let request = null; // the piece that is on its way
let rate = null; // bytes a second, smoothed

// Logging in again in another tab has changed the token, and this page can go on with the new.
function token() {
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return cookie ? cookie[1] : form.elements.csrfmiddlewaretoken.value;
}

function fail(sentence) {
  problem.textContent = sentence;
  problem.hidden = !sentence;
}

function size(bytes) {
  return bytes >= 1024 ** 3
    ? `${(bytes / 1024 ** 3).toFixed(2)} GB`
    : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

function duration(seconds) {
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60);
  return minutes < 60
    ? `about ${minutes} minute${minutes === 1 ? "" : "s"}`
    : `about ${(minutes / 60).toFixed(1)} hours`;
}

function show(sent, total, words = "") {
  bar.value = sent / total;
  const parts = [`${size(sent)} of ${size(total)}`];
  if (words) parts.push(words);
  else if (rate) parts.push(`${size(rate)} a second`, `${duration((total - sent) / rate)} left`);
  status.textContent = parts.join(" · ");
}

function update() {
  progress.hidden = upload === null;
  pause.hidden = !sending;
  discard.hidden = sending || upload === null;
  send.disabled = sending;
  send.textContent = upload && !sending ? "Go on" : "Upload";
  input.disabled = sending;
}

async function ask(url, data) {
  const answer = await fetch(url, {
    method: "POST",
    body: data,
    headers: { Accept: "application/json", "X-CSRFToken": token() },
  }).catch(() => null);
  if (!answer) return { error: "The server cannot be reached. Try again in a moment." };
  const said = await answer.json().catch(() => ({}));
  if (answer.ok || said.error) return said;
  return { error: "The server could not take it. Reload the page and try again." };
}

// The form without the archive itself, which comes in pieces.
function values(file) {
  const data = new FormData(form);
  data.delete("archive");
  data.set("file_name", file.name);
  data.set("size", file.size);
  data.set("last_modified", file.lastModified);
  return data;
}

// Resolves to {status, received, error}; status 0 is a connection that broke.
function sendPiece(file, offset) {
  const piece = file.slice(offset, Math.min(offset + pieceBytes, file.size));
  const began = performance.now();
  return new Promise((resolve) => {
    request = new XMLHttpRequest();
    request.open("POST", upload.piece_url);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", token());
    request.setRequestHeader("Upload-Offset", offset);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => show(offset + event.loaded, file.size));
    request.addEventListener("load", () => {
      const now = piece.size / ((performance.now() - began) / 1000);
      rate = rate ? 0.8 * rate + 0.2 * now : now;
      resolve({ status: request.status, ...request.response });
    });
    for (const name of ["error", "abort", "timeout"]) {
      request.addEventListener(name, () => resolve({ status: 0 }));
    }
    request.send(piece);
  });
}

// Sends what is missing; returns false when a person has to do something first.
async function sendPieces(file) {
  let offset = upload.received;
  let failures = 0;
  while (offset < file.size) {
    if (paused) return false;
    show(offset, file.size);
    const answer = await sendPiece(file, offset);
    if (answer.status === 200 || answer.status === 409) {
      failures = answer.status === 200 ? 0 : failures + 1;
      offset = upload.received = answer.received;
      if (answer.status === 409) await wait(1); // another piece of it is just being written
    } else if (answer.status >= 400 && answer.status < 500) {
      fail(answer.error || "The server could not take it. Reload the page and try again.");
      return false;
    } else if (!paused) {
      const seconds = WAITS[Math.min(failures, WAITS.length - 1)];
      failures += 1;
      show(offset, file.size, `the connection is lost; trying again in ${seconds} s`);
      await wait(seconds);
    }
  }
  show(file.size, file.size, "all of it has arrived");
  return true;
}

function wait(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

async function start(file) {
  fail("");
  if (file.size > maxBytes) {
    fail(`The archive has ${size(file.size)}; at most ${size(maxBytes)} are allowed.`);
    return;
  }
  sending = true;
  paused = false;
  update();
  const announced = await ask(announceUrl, values(file));
  if (announced.error) {
    fail(announced.error);
  } else {
    upload = announced;
    update();
    if (await sendPieces(file)) {
      const finished = await ask(upload.finish_url, values(file));
      if (finished.url) {
        sending = false;
        window.location.assign(finished.url);
        return;
      }
      fail(finished.error);
    } else if (paused) {
      show(upload.received, file.size, "paused; what was sent is kept for a day");
    }
  }
  sending = false;
  update();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const file = input.files[0];
  if (file && !sending) start(file);
});
pause.addEventListener("click", () => {
  paused = true;
  if (request) request.abort();
});
discard.addEventListener("click", async () => {
  await ask(upload.discard_url, new FormData());
  upload = null;
  rate = null;
  fail("");
  update();
});

// The facts of a new dataset are asked for a new one only.
function askOnlyForNew() {
  ofNew.hidden = dataset.value !== "";
}
dataset.addEventListener("change", askOnlyForNew);
askOnlyForNew();

input.addEventListener("change", () => {
  upload = null;
  update();
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
  if (sending || event.dataTransfer.files.length === 0) return;
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change"));
});
// A file dropped beside the zone must not replace the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault());
}
window.addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});
update();
