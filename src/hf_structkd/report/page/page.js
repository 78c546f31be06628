"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // ---- pictures: which layer is shown, and in which order ----

  const cards = [...document.querySelectorAll(".card")];

  function show(card, index) {
    const layers = [...card.querySelectorAll(".layer")];
    layers.forEach((layer, i) => { layer.hidden = i !== index; });
    card.querySelectorAll(".error").forEach((error, i) => { error.hidden = i !== index; });
    card.querySelectorAll(".stops button").forEach((button, i) => {
      button.setAttribute("aria-pressed", String(i === index));
    });
    const slider = card.querySelector(".slider");
    const title = layers[index].dataset.title;
    slider.value = index;
    slider.setAttribute("aria-valuetext", title);
    const stack = card.querySelector(".stack");
    stack.setAttribute("aria-label", `${stack.dataset.name}: ${title}`);
    return title;
  }

  for (const card of cards) {
    const slider = card.querySelector(".slider");
    slider.addEventListener("input", () => show(card, Number(slider.value)));
    card.querySelectorAll(".stops button").forEach((button, i) => {
      button.addEventListener("click", () => show(card, i));
    });
  }
  const all = byId("all");
  if (all) {
    const showAll = () => {
      let title = "";
      for (const card of cards) title = show(card, Number(all.value));
      byId("all-name").textContent = title;
      all.setAttribute("aria-valuetext", title);
    };
    all.addEventListener("input", showAll);
    showAll();
    const order = byId("order");
    const sort = () => reorder(byId("cards"), cards, order.value);
    order.addEventListener("change", sort);
    sort();
  }
  const seeThrough = byId("see-through");
  if (seeThrough) {
    const blend = () => byId("cards").classList.toggle("see-through", seeThrough.checked);
    seeThrough.addEventListener("change", blend);
    blend(); // a browser that goes back keeps the box as it was
  }
  for (const select of document.querySelectorAll(".bar-order")) {
    const bars = select.closest(".tools").nextElementSibling;
    const rows = [...bars.children];
    select.addEventListener("change", () => reorder(bars, rows, select.value));
  }

  // The largest value of a key comes first, with a minus the smallest; what has no value comes last.
  function reorder(parent, children, key) {
    const sign = key.startsWith("-") ? -1 : 1;
    const name = key.replace("-", "");
    const value = (one) => (one.dataset[name] === "" ? -Infinity : sign * Number(one.dataset[name]));
    const difference = (a, b) => (value(a) === value(b) ? 0 : value(b) - value(a));
    parent.append(...[...children].sort((a, b) => difference(a, b) || a.dataset.place - b.dataset.place));
  }

  // ---- curves ----

  const WIDTH = 380, HEIGHT = 220, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 36;
  const DASHES = ["", "7 4", "7 3 2 3", "2 3"];
  const TEACHER = "8 4";
  const names = [...new Set(data.curves.flatMap((panel) => Object.keys(panel.lines)))];
  const steps = data.curves.flatMap((panel) => Object.values(panel.lines).flat().map((point) => point[0]));
  const lastStep = steps.reduce((a, b) => Math.max(a, b), 0) * 1.03 || 1;

  function svg(name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const print = (value) => (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)
    ? value.toExponential(2) : String(Number(value.toPrecision(4))));

  function ticks(low, high, isLog) {
    if (isLog) {
      const found = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e += 1) found.push(10 ** e);
      const every = Math.ceil(found.length / 5);
      return found.filter((tick, i) => i % every === 0 && tick >= low && tick <= high);
    }
    const rough = (high - low) / 4;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * unit).find((one) => one >= rough);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(i * step);
    return found;
  }

  function sample(style, dashes) {
    const key = svg("svg", { width: 30, height: 10 });
    key.append(svg("line", { x1: 0, y1: 5, x2: 30, y2: 5, stroke: style, "stroke-width": 2, "stroke-dasharray": dashes }));
    return key;
  }

  function draw(panel) {
    const figure = document.createElement("figure");
    figure.className = "panel";
    figure.tabIndex = 0;
    const caption = document.createElement("figcaption");
    const says = document.createElement("span");
    says.textContent = panel.axis + (panel.lost ? `; not finite, not drawn: ${panel.lost}` : "");
    caption.append(panel.title, says);
    figure.append(caption);
    if (!panel.limits) return figure;
    const [low, high] = panel.limits;
    const scale = panel.isLog ? Math.log10 : (value) => value;
    const span = scale(high) - scale(low) || 1;
    const x = (step) => LEFT + (step / lastStep) * (WIDTH - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (scale(value) - scale(low)) / span) * (HEIGHT - TOP - BOTTOM);
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${panel.title}, ${panel.axis}` });
    for (const tick of ticks(low, high, panel.isLog)) {
      drawing.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), stroke: tick === 0 ? "#777" : "#e3e3e3" }));
      drawing.append(svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, print(tick)));
    }
    for (const tick of ticks(0, lastStep, false)) {
      drawing.append(svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, print(tick)));
    }
    drawing.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "optimiser step"));
    drawing.append(svg("path", { d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`, fill: "none", stroke: "#777" }));
    if (panel.teacher !== null) {
      drawing.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(panel.teacher), y2: y(panel.teacher), stroke: "#000", "stroke-width": 1.4, "stroke-dasharray": TEACHER }));
    }
    for (const [name, points] of Object.entries(panel.lines)) {
      const colour = data.colours[name];
      let path = "";
      points.forEach(([step, value], i) => {
        if (value === null) return;
        const before = i > 0 && points[i - 1][1] !== null;
        const after = i + 1 < points.length && points[i + 1][1] !== null;
        path += `${before ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
        if (points.length <= 25 || (!before && !after)) {
          drawing.append(svg("circle", { cx: x(step), cy: y(value), r: 2.6, fill: colour }));
        }
      });
      drawing.append(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": DASHES[names.indexOf(name) % DASHES.length] }));
    }
    addReading(figure, drawing, panel, x);
    return figure;
  }

  // The values at the step under the pointer, or at the one that the arrow keys have reached.
  function addReading(figure, drawing, panel, x) {
    const known = [...new Set(Object.values(panel.lines).flat().map((point) => point[0]))].sort((a, b) => a - b);
    const cursor = svg("line", { y1: TOP, y2: HEIGHT - BOTTOM, stroke: "#555", visibility: "hidden" });
    const reading = document.createElement("div");
    reading.className = "reading";
    reading.hidden = true;
    reading.setAttribute("role", "status");
    drawing.append(cursor);
    figure.append(drawing, reading);
    let place = -1;
    const hide = () => { reading.hidden = true; cursor.setAttribute("visibility", "hidden"); };
    const read = (index) => {
      place = Math.min(Math.max(index, 0), known.length - 1);
      const step = known[place];
      const lines = [`step ${print(step)}`];
      for (const [name, points] of Object.entries(panel.lines)) {
        const point = points.find((one) => one[0] === step);
        if (point) lines.push(`${name} ${point[1] === null ? "n/a" : print(point[1])}`);
      }
      if (panel.teacher !== null) lines.push(`teacher ${print(panel.teacher)}`);
      reading.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
      reading.hidden = false;
      const right = x(step) > WIDTH / 2;
      reading.style.left = right ? "auto" : `${(100 * x(step)) / WIDTH + 2}%`;
      reading.style.right = right ? `${100 - (100 * x(step)) / WIDTH + 2}%` : "auto";
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(step));
      cursor.setAttribute("visibility", "visible");
    };
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * WIDTH;
      let nearest = 0;
      known.forEach((step, i) => { if (Math.abs(x(step) - at) < Math.abs(x(known[nearest]) - at)) nearest = i; });
      read(nearest);
    });
    drawing.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
    figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      read(place + move);
    });
  }

  const entries = names.map((name, i) => [name, sample(data.colours[name], DASHES[i % DASHES.length])]);
  if (data.curves.some((panel) => panel.teacher !== null)) entries.push(["teacher", sample("#000", TEACHER)]);
  byId("curve-legend").append(...entries.map(([name, key]) => {
    const item = document.createElement("li");
    item.append(key, name);
    return item;
  }));
  byId("panels").append(...data.curves.map(draw));
})();
