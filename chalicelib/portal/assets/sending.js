"use strict";
// Sends radiographs: in the request itself, or by way of the storage when they are large.

// `chosen` waits for the button; `files` are on their way, each with whether it is to be read now.
const queue = { chosen: [], files: [], busy: false };

async function send(file, now) {
  if (file.size > limits.upload) {
    throw new Refusal({
      title: "The image is too large",
      detail: `${file.name} has ${size(file.size)}; at most ${size(limits.upload)} can be sent.`,
      code: "too_large_here",
    });
  }
  const type = file.type || "application/octet-stream";
  if (file.size > limits.body) return sendLarge(file, type);
  const request = { body: file, headers: { "Content-Type": type } };
  if (now) return ask("POST", "xray", request);
  return ask("POST", "studies", { ...request, headers: { ...request.headers, ...once() } });
}

async function sendLarge(file, type) {
  const form = await ask("POST", "uploads", json({ size: file.size, content_type: type }));
  const body = new FormData();
  for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
  body.append("file", file); // last, as the storage wants it
  try {
    // The storage's answer is not ours to read; the API tells whether the bytes have arrived.
    await fetch(form.url, { method: "POST", mode: "no-cors", body, credentials: "omit" });
  } catch {
    throw new Refusal({ title: "The storage cannot be reached", detail: "Please try again.", code: "unreachable" });
  }
  const reference = json({ upload_id: form.upload_id });
  return ask("POST", "studies", { ...reference, headers: { ...reference.headers, ...once() } });
}

/** Show what was chosen. Nothing is sent, or costs a unit, before the button. */
function choose(files) {
  queue.chosen = [...files];
  const count = queue.chosen.length;
  const all = size(queue.chosen.reduce((sum, file) => sum + file.size, 0));
  element("chosen").hidden = count === 0;
  element("names").textContent = count === 1 ? `${queue.chosen[0].name}, ${all}` : `${number(count)} files, ${all}`;
  element("names").title = queue.chosen.map((file) => file.name).join("\n");
  const large = queue.chosen.some((file) => file.size > limits.body);
  element("large").hidden = !large;
  if (count) element("progress").textContent = "";
}

async function sendAll(files, now) {
  queue.files.push(...files.map((file) => ({ file, now })));
  if (queue.busy) return;
  queue.busy = true;
  element("send").classList.add("busy");
  element("send-problem").replaceChildren();
  const key = session.key;
  while (queue.files.length && session.key === key) {
    const { file, now } = queue.files.shift();
    try {
      await sendOne(file, now);
    } catch (error) {
      if (lockedOut(error)) break;
      element("send-problem").append(named(file, explain(error)));
    }
  }
  queue.files = [];
  queue.busy = false;
  element("send").classList.remove("busy");
}

async function sendOne(file, now) {
  const begun = Date.now();
  const more = queue.files.length ? `, ${queue.files.length} more to come` : "";
  const tell = () => {
    const seconds = Math.round((Date.now() - begun) / 1000);
    element("progress").textContent = `${now ? "Reading" : "Sending"} ${file.name}, ${size(file.size)}${more} … ${seconds} s`;
  };
  tell();
  // For eyes alone: a screen reader is told once that it begins, and once what came of it.
  element("progress").setAttribute("aria-live", "off");
  const clock = setInterval(tell, 1000);
  let said = "";
  try {
    const study = await send(file, now);
    if (/^image\/(png|jpeg)$/.test(file.type)) pictures.set(study.id, URL.createObjectURL(file));
    showStudy(study, { open: !more });
    said = study.status === "queued" ? `${file.name} waits in the queue.` : `${file.name}: ${study.label}.`;
  } finally {
    clearInterval(clock);
    element("progress").setAttribute("aria-live", "polite");
    element("progress").textContent = said;
  }
}

const named = (file, problem) => (problem.prepend(make("p", { className: "help" }, file.name)), problem);

const box = element("send");
element("most").textContent = size(limits.upload);
element("large-from").textContent = size(limits.body);
element("file").addEventListener("change", (event) => {
  if (event.target.files.length) choose(event.target.files);
  event.target.value = ""; // the same file can be chosen again
});
box.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = queue.chosen;
  choose([]);
  element("file").focus(); // the button that had it is gone
  sendAll(files, element("now").checked);
});
element("unchoose").addEventListener("click", () => {
  choose([]);
  element("file").focus();
});
box.addEventListener("dragover", (event) => {
  event.preventDefault();
  box.classList.add("over");
});
box.addEventListener("dragleave", () => box.classList.remove("over"));
box.addEventListener("drop", (event) => {
  event.preventDefault();
  box.classList.remove("over");
  if (event.dataTransfer.files.length) choose(event.dataTransfer.files);
});
// A file that misses the box must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
