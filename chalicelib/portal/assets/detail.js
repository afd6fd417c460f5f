"use strict";
// One study, opened: findings, heatmap, report.

// Pictures that were sent from this page, by study. The service itself gives no image back.
const pictures = new Map();

const fresh = (link) => new Date(link.expires_at) - Date.now() > 30_000;

function showDetail(place, study) {
  const made = element("study-detail").content.cloneNode(true);
  const part = (selector) => made.querySelector(selector);
  const decision = study.model?.scale === "decision";
  if (study.findings.length) {
    part(".findings").hidden = false;
    part(".scale").textContent = decision ? "Score" : "Probability";
    part("tbody").replaceChildren(...study.findings.map(findingRow));
  }
  if (study.error) {
    part(".trouble").append(explain(new Refusal(study.error, null)));
  }
  facts(part(".facts"), studyFacts(study, decision));
  if (study.heatmaps.length || pictures.has(study.id)) showPicture(part(".view"), study);
  if (study.report) linkReport(part(".report"), study);
  part(".erase").hidden = study.status === "deleted";
  part(".erase").addEventListener("click", () => erase(study));
  place.replaceChildren(made);
}

function findingRow(finding) {
  const { label, probability: value, threshold, positive } = finding;
  const shown = probability(value, threshold);
  return make(
    "tr",
    { className: positive ? "positive" : "negative" },
    make("th", { scope: "row" }, label),
    make(
      "td",
      { className: "scale" },
      gauge(make("div", { className: "gauge", "aria-hidden": "true" }), value, threshold),
      make("span", { className: "value" }, shown),
      make("span", { className: "help" }, `operating point ${probability(threshold, value)}`),
    ),
    make("td", { className: "answer" }, positive ? "Positive" : "Negative"),
  );
}

function studyFacts(study, decision) {
  const { image, model, quality } = study;
  return [
    ["Study", make("code", {}, study.id)],
    ["Finished", study.completed_at && when(study.completed_at)],
    ["Image", image && `${image.format}, ${number(image.width)} × ${number(image.height)} pixels`],
    ["Prepared by", image?.steps.length && image.steps.join(", ")],
    ["State", study.status !== "succeeded" && study.status !== "failed" && STATES[study.status]],
    ["Quality", quality && (quality.accepted ? "accepted" : "doubtful") + (quality.reasons.length ? `: ${quality.reasons.join(", ")}` : "")],
    ["Model", model && `${model.name} ${model.version}`],
    ["Scale", decision && "a decision scale: it orders images and is the chance of nothing"],
  ];
}

function showPicture(view, study) {
  const [picture, heat, select, strength, note] = [".picture", ".heat", "select", "input", ".note"].map((s) => view.querySelector(s));
  const sent = pictures.get(study.id);
  view.hidden = false;
  if (study.image) view.querySelector(".frame").style.setProperty("--shape", `${study.image.width} / ${study.image.height}`);
  if (sent) {
    picture.src = sent;
    picture.hidden = false;
  }
  const kept = sent ? "" : " The image itself is not kept here; the report shows both.";
  const maps = study.heatmaps;
  view.querySelector(".which").hidden = maps.length < 2;
  view.querySelector(".strength").hidden = heat.hidden = maps.length === 0;
  if (!maps.length) return;
  select.replaceChildren(...maps.map((map) => make("option", {}, map.label)));
  const show = () => {
    const map = maps[select.selectedIndex];
    heat.src = map.url;
    heat.alt = `Heatmap of ${map.label}: regions that raised the answer`;
    note.textContent = `${map.label}: regions that raised the answer. It outlines nothing.${kept}`;
  };
  const fade = () => heat.style.setProperty("opacity", strength.value / 100);
  select.addEventListener("change", show);
  strength.addEventListener("input", fade);
  show();
  fade();
}

function linkReport(anchor, study) {
  let link = study.report;
  anchor.href = link.url;
  anchor.hidden = false;
  anchor.addEventListener("click", async (event) => {
    if (fresh(link)) return;
    event.preventDefault();
    await telling(element("studies-problem"), async () => {
      link = await ask("GET", `studies/${study.id}/report?format=pdf`);
      anchor.href = link.url;
      anchor.click();
    });
  });
}
