"use strict";
// Who comes in, and out. The key is never part of an address and never written to the disk's storage.

const KEPT = "radgate-key";
const REFUSED = new Set(["missing_or_unknown_key", "key_expired", "key_revoked", "client_suspended"]);

/** Whether a key was refused for good; then the way leads back to the door. */
function lockedOut(error) {
  if (!(error instanceof Refusal) || !REFUSED.has(error.problem.code)) return false;
  leave();
  element("door-problem").replaceChildren(explain(error));
  element("key").focus();
  return true;
}

async function enter(key) {
  if (!/^[A-Za-z0-9]+$/.test(key)) {
    const title = "That is no key";
    const detail = "A key has letters and digits only; perhaps more than the key was copied.";
    element("door-problem").replaceChildren(explain(new Refusal({ title, detail, code: "no_key" }, null)));
    return;
  }
  session.key = key;
  try {
    // Any keyed route tells whether the key opens; without the scope for this one it does as well.
    showAccount(await ask("GET", "account"));
  } catch (error) {
    if (lockedOut(error)) return;
    if (error.problem?.code !== "insufficient_scope") {
      leave();
      element("door-problem").replaceChildren(explain(error));
      return;
    }
    element("account-problem").replaceChildren(explain(error));
  }
  if (element("keep").checked) sessionStorage.setItem(KEPT, key);
  element("key").value = "";
  element("door-problem").replaceChildren();
  element("door").hidden = true;
  element("desk").hidden = element("leave").hidden = false;
  element("main").focus();
  await loadStudies();
}

function leave() {
  session.key = null;
  sessionStorage.removeItem(KEPT);
  [...pictures.keys()].forEach(forgetPicture);
  list.round++;
  clearStudies();
  for (const id of ["who", "keys", "terms", "progress", "send-problem", "account-problem", "studies-problem", "door-problem"]) {
    element(id).replaceChildren();
  }
  element("desk").hidden = element("leave").hidden = element("account").hidden = true;
  choose([]);
  element("door").hidden = false;
}

element("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  await enter(element("key").value.trim());
  button.disabled = false;
});
element("leave").addEventListener("click", () => {
  leave();
  element("key").focus();
});
for (const link of document.querySelectorAll("[data-to]")) link.href = base + link.dataset.to;

const kept = sessionStorage.getItem(KEPT);
if (kept) {
  element("keep").checked = true;
  enter(kept);
}
