"use strict";
// The client, its plan, its quota and its keys.

const quota = { limit: 0, left: 0 };

async function loadAccount() {
  await telling(element("account-problem"), async () => showAccount(await ask("GET", "account")));
}

function showAccount(account) {
  const { plan, usage } = account;
  element("who").textContent = account.name;
  element("account").hidden = false;
  quota.limit = usage.limit;
  showLeft(usage.limit - usage.used);
  element("resets").replaceChildren(`The next ${plan.studies.period} begins on `, when(usage.resets_at), ".");
  facts(element("terms"), [
    ["Plan", plan.title],
    ["Price", plan.price && priceOf(plan.price)],
    ["Pace", `${number(plan.throttle.rate_per_second)} requests a second, ${number(plan.throttle.burst)} at once`],
    ["Requests", `${number(plan.requests.limit)} a ${plan.requests.period} for each key`],
  ]);
  element("keys").replaceChildren(...account.keys.map(keyItem));
}

function showLeft(left) {
  quota.left = Math.max(0, left);
  if (!quota.limit) return;
  const [few, all] = [number(quota.left), number(quota.limit)];
  element("left").textContent = few;
  element("left-of").textContent = `of ${all} studies left`;
  gauge(element("quota"), 1 - quota.left / quota.limit);
  element("quota").setAttribute("aria-label", `${number(quota.limit - quota.left)} of ${all} studies used`);
  element("quota").classList.toggle("full", quota.left === 0);
}

function priceOf(price) {
  const money = (amount) => `${amount} ${price.currency}`;
  return `${money(price.monthly)} a month for ${number(price.included)} studies, then ${money(price.overage)} each`;
}

function keyItem(key) {
  const over = key.revoked_at ?? (key.expires_at && new Date(key.expires_at) < Date.now() ? key.expires_at : null);
  const tags = [key.current && "this one", key.mode === "test" && "test", key.revoked_at ? "revoked" : over && "expired"];
  const used = key.last_used_at ? ["last used ", when(key.last_used_at)] : ["never used"];
  const ends = key.expires_at && !over ? [", expires ", when(key.expires_at)] : [];
  return make(
    "li",
    { className: over ? "over" : "" },
    make("p", {}, make("code", {}, key.hint), " ", key.label, ...tags.filter(Boolean).map((tag) => make("span", { className: "tag" }, tag))),
    make("p", { className: "help" }, ...used, ...ends),
    make("p", { className: "help" }, key.scopes.join(", ")),
  );
}

session.heard = showLeft;
