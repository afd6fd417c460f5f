"use strict";
// The list of studies: pages of it, and what is still under way.

const STATES = { queued: "Waiting", running: "Being read", succeeded: "Finished", failed: "Failed", deleted: "Erased" };
const pending = (study) => study.status === "queued" || study.status === "running";
const list = { rows: new Map(), cursor: null, watching: false, round: 0 };

async function loadStudies({ older = false } = {}) {
  const round = older ? list.round : ++list.round;
  await telling(element("studies-problem"), async () => {
    const query = new URLSearchParams({ limit: "20" });
    if (element("filter").value) query.set("status", element("filter").value);
    if (older) query.set("cursor", list.cursor);
    const page = await ask("GET", `studies?${query}`);
    if (round !== list.round) return; // a later wish has overtaken this one
    if (!older) clearStudies();
    list.cursor = page.next_cursor;
    page.items.forEach((study) => showStudy(study));
    element("more").hidden = page.next_cursor === null;
  });
  element("none").hidden = list.rows.size > 0;
}

function clearStudies() {
  list.rows.clear();
  element("studies").replaceChildren();
}

/** Add a study to the list, or show it as it now is. */
function showStudy(study, { open = false } = {}) {
  let row = list.rows.get(study.id);
  if (!row) {
    const item = element("study-row").content.cloneNode(true).querySelector("li");
    row = { item, button: item.querySelector(".row"), detail: item.querySelector(".detail") };
    row.button.addEventListener("click", () => toggle(row));
    const later = [...list.rows.values()].filter((other) => other.study.id > study.id).at(-1);
    if (later) later.item.after(item);
    else element("studies").prepend(item);
    row.study = study;
    list.rows.set(study.id, row);
  }
  const changed = row.study.status !== study.status;
  row.study = study;
  fillRow(row, study);
  // Drawn again only when there is something new: whoever reads or tabs through it keeps the place.
  if (open || (changed && !row.detail.hidden)) expand(row);
  element("none").hidden = true;
  if (pending(study)) watch();
}

function fillRow({ item, button }, study) {
  item.dataset.status = study.status;
  item.dataset.id = study.id;
  const leading = study.findings.find((finding) => finding.label === study.label);
  item.classList.toggle("found", Boolean(leading));
  button.querySelector(".verdict").textContent = study.status === "succeeded" ? study.label : STATES[study.status];
  button.querySelector(".score").textContent = leading ? probability(leading.probability, leading.threshold) : "";
  button.querySelector(".tags").replaceChildren(study.mode === "test" ? make("span", { className: "tag" }, "test") : "");
  button.querySelector(".when").replaceWith(when(study.created_at, { className: "when" }));
}

function toggle(row) {
  if (row.detail.hidden) return telling(element("studies-problem"), () => openStudy(row));
  row.detail.hidden = true;
  row.button.setAttribute("aria-expanded", "false");
}

async function openStudy(row) {
  const links = [row.study.report, ...row.study.heatmaps].filter(Boolean);
  const study = links.every(fresh) ? row.study : await ask("GET", `studies/${row.study.id}`);
  showStudy(study, { open: true });
}

function expand(row) {
  showDetail(row.detail, row.study);
  row.detail.hidden = false;
  row.button.setAttribute("aria-expanded", "true");
}

/** Ask for studies that are under way until all have ended, ever more slowly. */
async function watch() {
  if (list.watching) return;
  list.watching = true;
  let seconds = 1;
  const key = session.key;
  for (;;) {
    await pause(seconds);
    const open = [...list.rows.values()].map((row) => row.study).filter(pending);
    if (session.key !== key || !open.length) break;
    seconds = Math.min(10, seconds * 1.5);
    try {
      for (const { id } of open.slice(0, 5)) {
        const study = await ask("GET", `studies/${id}`);
        if (list.rows.has(id)) showStudy(study);
      }
    } catch (error) {
      if (lockedOut(error)) break;
      seconds = Math.max(seconds, error.wait ?? 10);
    }
  }
  list.watching = false;
}

async function erase(study) {
  if (!(await confirmed())) return;
  await telling(element("studies-problem"), async () => {
    await ask("DELETE", `studies/${study.id}`);
    forgetPicture(study.id);
    showStudy(await ask("GET", `studies/${study.id}`));
    list.rows.get(study.id).button.focus();
  });
}

function confirmed() {
  const dialog = element("confirm");
  return new Promise((decide) => {
    dialog.returnValue = "";
    element("confirm-yes").onclick = () => dialog.close("yes");
    element("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => decide(dialog.returnValue === "yes");
    dialog.showModal();
    element("confirm-no").focus();
  });
}

function forgetPicture(id) {
  URL.revokeObjectURL(pictures.get(id) ?? "");
  pictures.delete(id);
}

element("reload").addEventListener("click", () => loadStudies());
element("filter").addEventListener("change", () => loadStudies());
element("more").addEventListener("click", () => loadStudies({ older: true }));
