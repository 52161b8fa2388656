"use strict";
(() => {
  const scenes = JSON.parse(document.getElementById("player-data").textContent);
  const root = document.getElementById("player");
  if (!root || !scenes.length) return;
  const get = (id) => document.getElementById(id);
  const stage = get("stage"), slider = get("step"), list = get("scene-list"), sets = get("set-list"), play = get("play");
  const rows = ["glimpse", "v", "reconstruction"];
  const named = { glimpse: "Glimpse", v: "Canonical image v", reconstruction: "Reconstruction" };
  const kinds = { start: "Start", convnet: "ShiftNet", mean: "Posterior", hmc: "HMC" };
  let scene = scenes[0], now = 0, timer = null;

  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0 }).replace("-", "\u2212");

  const line = (step, style, opacity) => `<g opacity="${opacity}"><path class="casing ${style}" d="${step.path}"/><path class="ink ${style}" d="${step.path}" style="stroke:${step.colour}"/></g>`;

  function drawTrail() {
    const marks = scene.steps.slice(0, now + 1).map((step, index) => {
      const age = now - index;
      const faded = step.kind === "hmc" ? Math.max(0.1, 0.6 - 0.12 * age) : Math.max(0.6, 1 - 0.05 * age);
      return !step.path ? "" : age ? line(step, index ? "between" : "first", faded.toFixed(2)) : line(step, "last", 1);
    });
    get("stage-trail").innerHTML = marks.join(""); // numbers and our own marks only, never a name
    get("stage-posterior").style.display = now === scene.steps.length - 1 ? "" : "none";
  }

  function drawPatches() {
    for (const row of rows) {
      const place = scene.rows.indexOf(row);
      const figure = get(`patch-${row}`), patch = figure.querySelector(".patch");
      figure.hidden = place < 0;
      if (place < 0) continue;
      const there = scene.steps[now].has[place];
      const columns = scene.steps.length;
      patch.classList.toggle("empty", !there);
      patch.setAttribute("aria-label", `${named[row]} at ${scene.steps[now].name}${there ? "" : ": none at this step"}`);
      patch.style.backgroundImage = there ? `url("${scene.sprite}")` : "";
      patch.style.backgroundSize = `${100 * columns}% ${100 * scene.rows.length}%`;
      patch.style.backgroundPosition = `${columns > 1 ? (100 * now) / (columns - 1) : 0}% ${scene.rows.length > 1 ? (100 * place) / (scene.rows.length - 1) : 0}%`;
    }
  }

  function scorePlaces() {
    const known = scene.steps.map((step) => step.score).filter((score) => score !== null);
    const low = Math.min(...known), high = Math.max(...known), last = Math.max(1, scene.steps.length - 1);
    return scene.steps.map((step, index) => step.score === null ? null
      : [8 + (304 * index) / last, high > low ? 88 - (80 * (step.score - low)) / (high - low) : 48]);
  }

  function drawScore() {
    const box = get("scores"), places = scorePlaces();
    box.hidden = places.every((place) => place === null);
    if (box.hidden) return;
    get("score-line").setAttribute("d", places.filter(Boolean).map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(""));
    const score = scene.steps[now].score, dot = get("score-dot"), graph = box.querySelector("svg");
    get("score-now").textContent = score === null ? "\u2013" : number(score);
    dot.hidden = score === null;
    if (score !== null) {
      dot.style.left = `${(100 * places[now][0]) / 320}%`;
      dot.style.bottom = `${97 - places[now][1]}px`; // the graph is 96 pixels high and stands on a line of one
      dot.style.background = scene.steps[now].colour;
    }
    const known = scene.steps.filter((step) => step.score !== null);
    graph.setAttribute("aria-label", `Log-ratio by step: from ${number(known[0].score)} at the first to ${number(known[known.length - 1].score)} at the last.`);
  }

  function show(step) {
    now = Math.min(Math.max(step, 0), scene.steps.length - 1);
    slider.value = now;
    const at = scene.steps[now];
    slider.setAttribute("aria-valuetext", at.name);
    stage.setAttribute("aria-label", `${scene.name}: ${at.name}, ${at.words}`);
    get("step-name").textContent = at.name;
    get("step-words").textContent = at.words;
    drawTrail();
    drawPatches();
    drawScore();
  }

  function drawStages() {
    const box = get("stages"), last = Math.max(1, scene.steps.length - 1);
    box.replaceChildren();
    let from = 0;
    scene.steps.forEach((step, index) => {
      const next = scene.steps[index + 1];
      if (next && next.kind === step.kind) return;
      const left = Math.max(0, from - (from ? 0.4 : 0)), right = Math.min(last, index + 0.4);
      if (step.kind !== "start" && right > left) {
        const mark = document.createElement("span");
        mark.textContent = kinds[step.kind] || step.kind;
        mark.style.left = `${(100 * left) / last}%`;
        mark.style.width = `${(100 * (right - left)) / last}%`;
        box.append(mark);
      }
      from = index + 1;
    });
  }

  function fill(set) {
    sets.value = set;
    list.replaceChildren();
    let group = null;
    scenes.forEach((one, index) => {
      if (one.set !== set) return;
      if (one.group && (!group || group.label !== one.group)) {
        group = document.createElement("optgroup");
        group.label = one.group;
        list.append(group);
      }
      (one.group ? group : list).append(new Option(one.name, index));
    });
  }

  function choose(index, step) {
    const which = (index + scenes.length) % scenes.length;
    scene = scenes[which];
    if (sets.value !== scene.set || !list.options.length) fill(scene.set);
    list.value = which;
    get("scene-reason").textContent = scene.reason;
    get("scene-reason").hidden = !scene.reason;
    get("scene-link").hidden = !scene.link;
    if (scene.link) get("scene-link").href = scene.link;
    stage.setAttribute("viewBox", scene.view.join(" "));
    get("stage-photo").setAttribute("href", `#${scene.photo}`);
    get("stage-truth").innerHTML = scene.truth;
    get("stage-posterior").innerHTML = scene.posterior;
    const verdict = get("scene-verdict");
    verdict.textContent = scene.verdict;
    verdict.className = `verdict ${scene.success === false ? "bad" : scene.success ? "good" : ""}`;
    get("sure").replaceChildren(...scene.sure.map(([name, text]) => {
      const row = document.createElement("div"), term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = name;
      value.textContent = text;
      row.append(term, value);
      return row;
    }));
    slider.max = scene.steps.length - 1;
    slider.style.setProperty("--track", `linear-gradient(90deg, ${scene.steps.map((one) => one.colour).join(", ")}${scene.steps.length > 1 ? "" : ", " + scene.steps[0].colour})`);
    drawStages();
    show(step === undefined ? scene.steps.length - 1 : step);
  }

  function stop() {
    clearTimeout(timer);
    timer = null;
    play.setAttribute("aria-pressed", "false");
    play.setAttribute("aria-label", "Play");
  }

  function advance() {
    if (now >= scene.steps.length - 1) return stop();
    show(now + 1);
    timer = setTimeout(advance, scene.steps[now].kind === "hmc" ? 180 : 520);
  }

  function start() {
    if (now >= scene.steps.length - 1) show(0);
    play.setAttribute("aria-pressed", "true");
    play.setAttribute("aria-label", "Pause");
    timer = setTimeout(advance, 420);
  }

  const keys = {
    ArrowLeft: () => show(now - 1), ArrowDown: () => show(now - 1), ArrowRight: () => show(now + 1), ArrowUp: () => show(now + 1),
    Home: () => show(0), End: () => show(scene.steps.length - 1),
    PageUp: () => choose(+list.value - 1), PageDown: () => choose(+list.value + 1),
    " ": () => (timer ? stop() : start()),
  };
  root.addEventListener("keydown", (event) => {
    const there = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || there === list || there === sets) return;
    if (event.key === " " && there.tagName === "BUTTON") return;
    if (!keys[event.key]) return;
    event.preventDefault();
    if (event.key !== " ") stop();
    keys[event.key]();
  });
  slider.addEventListener("input", () => { stop(); show(+slider.value); });
  const first = (set) => { // a clear success to begin with; what went wrong stands above it in the list
    const there = scenes.map((one, index) => [one, index]).filter(([one]) => one.set === set);
    return (there.filter(([one]) => one.group === "Found").pop() || there[0])[1];
  };
  sets.append(...Array.from(new Set(scenes.map((one) => one.set)), (set) => new Option(set || "images", set)));
  sets.hidden = sets.options.length < 2;
  sets.addEventListener("change", () => {
    stop();
    const same = scenes.findIndex((one) => one.set === sets.value && one.name === scene.name);
    const set = sets.value;
    fill(set);
    choose(same < 0 ? first(set) : same);
  });
  list.addEventListener("change", () => { stop(); choose(+list.value); });
  get("scene-back").addEventListener("click", () => { stop(); choose(+list.value - 1); });
  get("scene-on").addEventListener("click", () => { stop(); choose(+list.value + 1); });
  play.addEventListener("click", keys[" "]);
  for (const button of document.querySelectorAll("button.open")) {
    button.addEventListener("click", () => {
      stop();
      choose(+button.dataset.scene, 0);
      root.scrollIntoView({ block: "nearest" });
      root.focus({ preventScroll: true });
      start();
    });
  }
  fill(scene.set);
  choose(first(scene.set));
})();
