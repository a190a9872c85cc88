"use strict";
// Draws the charts of a report from the data beside it. Whatever comes from a run is set as text, never as HTML.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const spec = JSON.parse(document.getElementById("report-data").textContent);
  const tip = document.getElementById("tip");

  // --- building blocks ---

  function svg(name, attributes = {}, parent = null, text = null) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }

  function html(name, className, parent, text = null) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== null) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }

  function figure(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (size >= 10000) return Math.round(value).toLocaleString("en");
    if (size !== 0 && size < 0.001) return value.toExponential(2).replace(/\.?0+e/, "e");
    return String(Number(value.toPrecision(4)));
  }

  function short(text, length) {
    const whole = String(text);
    return whole.length <= length ? whole : whole.slice(0, length - 1) + "…";
  }

  // Round places of an axis: 1, 2 or 5 times a power of ten; on a log axis powers of ten.
  function ticks(low, high, wanted, log) {
    if (log) {
      const found = [];
      const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
      for (let power = first; power <= last; power++) {
        for (const digit of last - first <= 2 ? [1, 2, 5] : [1]) found.push(digit * 10 ** power);
      }
      return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    }
    const range = high - low || 1, power = 10 ** Math.floor(Math.log10(range / wanted));
    const far = (step) => Math.abs(Math.log((range / step) / wanted));
    const step = [1, 2, 5, 10].map((factor) => factor * power).reduce((a, b) => (far(b) < far(a) ? b : a));
    const found = [];
    for (let index = Math.ceil(low / step); index * step <= high + step * 1e-9; index++) {
      found.push(Number((index * step).toPrecision(12)));
    }
    return found;
  }

  function scale(low, high, from, to, log) {
    const warp = log ? Math.log10 : (value) => value;
    const a = warp(low), b = warp(high);
    const place = (value) => from + (to - from) * (b === a ? 0.5 : (warp(value) - a) / (b - a));
    place.invert = (pixel) => {
      const value = a + ((pixel - from) / (to - from)) * (b - a);
      return log ? 10 ** value : value;
    };
    return place;
  }

  function showTip(event, lines) {
    tip.replaceChildren();
    for (const [text, colour] of lines) {
      const row = html("div", colour === undefined ? "" : `key s${colour % 8}`, tip);
      row.textContent = text;
    }
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 14 + box.width > window.innerWidth;
    tip.style.left = `${Math.max(4, right ? event.clientX - box.width - 14 : event.clientX + 14)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, window.innerHeight - box.height - 4))}px`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  // Buttons that hide and show what they name.
  function legend(parent, names, redraw) {
    const hidden = new Set();
    if (names.length < 2) return hidden;
    const bar = html("div", "legend", parent);
    names.forEach((name, index) => {
      const button = html("button", `key s${index % 8}`, bar, short(name, 40));
      button.type = "button";
      button.title = name;
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        hidden.has(index) ? hidden.delete(index) : hidden.add(index);
        button.setAttribute("aria-pressed", String(!hidden.has(index)));
        redraw();
      });
    });
    return hidden;
  }

  function canvas(place, height, label) {
    const width = Math.max(280, place.clientWidth);
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, place);
  }

  function axes(picture, box, x, y, names) {
    for (const value of y.ticks) {
      const at = y.place(value);
      svg("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }, picture);
      svg("text", { class: "tick end", x: box.left - 7, y: at + 4 }, picture, figure(value));
    }
    for (const value of x.ticks) {
      const at = x.place(value);
      const text = x.names ? short(x.names[value] ?? "", Math.max(6, Math.floor(90 / x.ticks.length))) : figure(value);
      svg("line", { class: "axis", x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4 }, picture);
      svg("text", { class: "tick middle", x: at, y: box.bottom + 18 }, picture, text);
    }
    svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }, picture);
    svg("text", { class: "name middle", x: (box.left + box.right) / 2, y: box.bottom + 36 }, picture, names.x);
    if (names.y) svg("text", { class: "name", x: 4, y: 12 }, picture, names.y);
  }

  // --- curves: lines over steps; drag to look closer ---

  // Mean over some points to each side; what is no number is left out.
  function smoothed(values, share) {
    const width = Math.round(values.length * share);
    if (width < 1) return values;
    const sums = [0], counts = [0];
    values.forEach((value, index) => {
      sums.push(sums[index] + (value ?? 0));
      counts.push(counts[index] + (value === null ? 0 : 1));
    });
    return values.map((_, index) => {
      const low = Math.max(0, index - width), high = Math.min(values.length, index + width + 1);
      return counts[high] > counts[low] ? (sums[high] - sums[low]) / (counts[high] - counts[low]) : null;
    });
  }

  function quantile(sorted, share) {
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
  }

  function extent(values, { robust = false, log = false } = {}) {
    const known = values.filter((value) => value !== null && (!log || value > 0)).sort((a, b) => a - b);
    if (!known.length) return log ? [1, 10] : [0, 1];
    const cut = robust && known.length >= 200 ? 0.005 : 0;
    let low = quantile(known, cut), high = quantile(known, 1 - cut);
    if (log) return low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
    const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
  }

  function curves(place, chart) {
    const controls = html("div", "controls", place);
    const drawing = html("div", "drawing", place);
    let zoom = null, share = chart.smooth ? 0.02 : 0, log = false, picture = null;
    const hidden = legend(controls, chart.series.map((series) => series.name), draw);
    if (chart.smooth) {
      const label = html("label", "", controls, "smoothing ");
      const slider = html("input", "", label);
      Object.assign(slider, { type: "range", min: 0, max: 20, value: 2, step: 1 });
      slider.addEventListener("input", () => { share = slider.value / 100; draw(); });
    }
    if (chart.log) {
      const label = html("label", "", controls);
      const box = html("input", "", label);
      box.type = "checkbox";
      label.append(" log scale");
      box.addEventListener("change", () => { log = box.checked; draw(); });
    }
    const reset = html("button", "reset", controls, "whole range");
    reset.type = "button";
    reset.hidden = true;
    reset.addEventListener("click", () => { zoom = null; draw(); });

    function draw() {
      reset.hidden = zoom === null;
      drawing.replaceChildren();
      const shown = chart.series.map((series, index) => ({ ...series, index })).filter((s) => !hidden.has(s.index));
      const height = chart.height || 300;
      picture = canvas(drawing, height, chart.label);
      const box = { left: 58, right: picture.viewBox.baseVal.width - 12, top: chart.y || (chart.marks || []).length ? 26 : 10, bottom: height - 44 };
      const all = shown.flatMap((series) => series.x);
      const [first, last] = zoom || [all.length ? Math.min(...all) : 0, all.length ? Math.max(...all) : 1];
      const inside = (series) => series.y.filter((_, i) => series.x[i] >= first && series.x[i] <= last);
      const ranges = shown.map((series) => extent(inside(series), { robust: series.smooth, log })).filter((r) => r);
      let low = Math.min(...ranges.map((r) => r[0])), high = Math.max(...ranges.map((r) => r[1]));
      if (!ranges.length) [low, high] = log ? [1, 10] : [0, 1];
      if (chart.zero && !log) low = Math.min(0, low);
      const x = scale(first, last, box.left, box.right, chart.logx), y = scale(low, high, box.bottom, box.top, log);
      axes(picture, box, { place: x, ticks: ticks(first, last, Math.max(3, box.right / 110), chart.logx).filter((t) => !["step", "job"].includes(chart.x) || Number.isInteger(t)) },
        { place: y, ticks: ticks(low, high, 5, log) }, { x: chart.x, y: chart.y });
      const clip = `clip-${chart.id}`;
      const cut = svg("clipPath", { id: clip }, picture);
      svg("rect", { x: box.left, y: box.top - 4, width: box.right - box.left, height: box.bottom - box.top + 8 }, cut);
      const layer = svg("g", { "clip-path": `url(#${clip})` }, picture);
      for (const mark of chart.marks || []) {
        if (mark.x < first || mark.x > last) continue;
        const at = x(mark.x);
        svg("line", { class: "mark", x1: at, x2: at, y1: box.top, y2: box.bottom }, layer);
        const late = at > (box.left + box.right) / 2;
        svg("text", { class: late ? "tick end" : "tick", x: at, y: box.top - 9 }, picture, mark.text);
      }
      const alone = shown.filter((series) => series.smooth).length === 1;
      for (const series of shown) {
        const values = series.smooth ? smoothed(series.y, share) : series.y;
        if (alone && series.smooth && share > 0) path(layer, series, series.y, x, y, "faint");
        if (!series.dots) path(layer, series, values, x, y, "");
        if (series.dots || series.points || series.x.length === 1) {
          series.x.forEach((step, i) => values[i] === null || svg("circle",
            { class: `dot s${series.index % 8}`, cx: x(step), cy: y(values[i]), r: 3.5 }, layer));
        }
      }
      watch(picture, box, x, shown);
    }

    function path(layer, series, values, x, y, kind) {
      let text = "", pen = false;
      values.forEach((value, i) => {
        if (value === null || !Number.isFinite(y(value))) { pen = false; return; }
        const at = `${x(series.x[i]).toFixed(1)} ${y(value).toFixed(1)}`;
        text += series.steps && pen ? `H${x(series.x[i]).toFixed(1)}V${y(value).toFixed(1)}` : (pen ? "L" : "M") + at;
        pen = true;
      });
      svg("path", { class: `line s${series.index % 8} ${kind}`, d: text }, layer);
    }

    function watch(target, box, x, shown) {
      const cross = svg("line", { class: "cross", y1: box.top, y2: box.bottom, visibility: "hidden" }, target);
      const band = svg("rect", { class: "band", y: box.top, height: box.bottom - box.top, width: 0 }, target);
      let start = null;
      const at = (event) => {
        const frame = target.getBoundingClientRect();
        return Math.min(box.right, Math.max(box.left, (event.clientX - frame.left) * (target.viewBox.baseVal.width / frame.width)));
      };
      target.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") start = at(event); });
      target.addEventListener("pointermove", (event) => {
        const pixel = at(event), value = x.invert(pixel), lines = [];
        let nearest = null;
        for (const series of shown) {
          if (!series.x.length) continue;
          let best = 0;
          series.x.forEach((step, i) => { if (Math.abs(step - value) < Math.abs(series.x[best] - value)) best = i; });
          if (nearest === null || Math.abs(series.x[best] - value) < Math.abs(nearest - value)) nearest = series.x[best];
          lines.push([`${short(series.name, 40)}: ${figure(series.y[best])}`, series.index]);
        }
        if (nearest === null) return;
        cross.setAttribute("x1", x(nearest));
        cross.setAttribute("x2", x(nearest));
        cross.setAttribute("visibility", "visible");
        if (start !== null) {
          band.setAttribute("x", Math.min(start, pixel));
          band.setAttribute("width", Math.abs(pixel - start));
        }
        showTip(event, [[`${chart.x} ${figure(nearest)}`], ...lines.slice(0, 12)]);
      });
      target.addEventListener("pointerup", (event) => {
        const end = at(event);
        if (start !== null && Math.abs(end - start) > 8) {
          zoom = [x.invert(Math.min(start, end)), x.invert(Math.max(start, end))];
          hideTip();
          draw();
        }
        start = null;
      });
      target.addEventListener("pointerleave", () => { start = null; band.setAttribute("width", 0); cross.setAttribute("visibility", "hidden"); hideTip(); });
      target.addEventListener("dblclick", () => { zoom = null; draw(); });
    }
    return draw;
  }

  // --- scatter: points with a text each ---

  function scatter(place, chart) {
    const controls = html("div", "controls", place);
    const drawing = html("div", "drawing", place);
    const groups = chart.groups || [];
    const hidden = legend(controls, groups, draw);

    function draw() {
      drawing.replaceChildren();
      const room = Math.max(280, drawing.clientWidth);
      const height = chart.diagonal ? Math.min(560, room * 0.9) : 300;
      const picture = canvas(drawing, height, chart.label);
      const right = chart.diagonal ? Math.min(room - 12, 58 + height - 68) : room - 12;
      const box = { left: 58, right, top: 24, bottom: height - 44 };
      let across = chart.names ? [-0.5, chart.names.length - 0.5] : extent(chart.px, { log: chart.logx });
      let up = extent(chart.py);
      if (!chart.names && !chart.logx && !chart.diagonal && across[0] < 0 && Math.min(...chart.px) >= 0) across[0] = 0;
      if (chart.diagonal) across = up = extent([...chart.px, ...chart.py]);
      const x = scale(across[0], across[1], box.left, box.right, chart.logx), y = scale(up[0], up[1], box.bottom, box.top, false);
      const xticks = chart.names ? chart.names.map((_, i) => i) : ticks(across[0], across[1], Math.max(3, box.right / 110), chart.logx);
      axes(picture, box, { place: x, ticks: xticks, names: chart.names }, { place: y, ticks: ticks(up[0], up[1], 5, false) }, { x: chart.x, y: chart.y });
      if (chart.diagonal) svg("line", { class: "mark", x1: x(across[0]), y1: y(across[0]), x2: x(across[1]), y2: y(across[1]) }, picture);
      const size = chart.px.length > 800 ? 2.4 : chart.px.length > 100 ? 3.2 : 5;
      chart.px.forEach((value, i) => {
        const group = chart.group ? chart.group[i] : 0;
        if (hidden.has(group) || value === null || chart.py[i] === null) return;
        svg("circle", { class: `point ${chart.px.length <= 100 ? "few " : ""}s${group < 0 ? 7 : group % 8}`, cx: x(value).toFixed(1), cy: y(chart.py[i]).toFixed(1), r: size, "data-i": i }, picture);
      });
      picture.addEventListener("pointermove", (event) => {
        const index = event.target.getAttribute("data-i");
        if (index === null) return hideTip();
        const i = Number(index), group = chart.group ? chart.group[i] : -1;
        const lines = [[`${chart.x}: ${chart.names ? chart.names[chart.px[i]] : figure(chart.px[i])}`], [`${chart.y}: ${figure(chart.py[i])}`]];
        if (groups[group] !== undefined) lines.unshift([groups[group], group]);
        if (chart.texts) lines.push([chart.texts[i]]);
        showTip(event, lines);
      });
      picture.addEventListener("pointerleave", hideTip);
    }
    return draw;
  }

  // --- parallel coordinates: a line for each job, from axis to axis; the first is the best ---

  function parallel(place, chart) {
    const drawing = html("div", "drawing wide", place);
    function draw() {
      drawing.replaceChildren();
      const count = chart.axes.length, height = 320;
      const picture = canvas(drawing, height, chart.label), wide = picture.viewBox.baseVal.width;
      const box = { left: 24, right: wide - 70, top: 34, bottom: height - 16 };
      const at = (axis) => box.left + ((box.right - box.left) * axis) / (count - 1);
      const room = Math.floor((box.right - box.left) / (count - 1) / 7);
      const scales = chart.axes.map((axis) => {
        const [low, high] = axis.names ? [0, axis.names.length - 1] : [Math.min(...axis.values), Math.max(...axis.values)];
        return { place: scale(low, high, box.bottom, box.top, axis.log), ticks: axis.names ? axis.names.map((_, i) => i) : ticks(low, high, 5, axis.log) };
      });
      for (let job = chart.texts.length - 1; job >= 0; job--) {
        const points = chart.axes.map((axis, i) => `${at(i).toFixed(1)} ${scales[i].place(axis.values[job]).toFixed(1)}`);
        const share = 1 - job / chart.texts.length;
        const line = svg("path", { class: `line s${job === 0 ? 1 : 0}`, d: `M${points.join("L")}`, "stroke-opacity": job === 0 ? 1 : (0.08 + 0.6 * share * share).toFixed(2) }, picture);
        line.addEventListener("pointermove", (event) => showTip(event, [[chart.texts[job]]]));
        line.addEventListener("pointerleave", hideTip);
      }
      chart.axes.forEach((axis, i) => {
        svg("line", { class: "axis", x1: at(i), x2: at(i), y1: box.top, y2: box.bottom }, picture);
        const name = svg("text", { class: i ? "name middle" : "name", x: i ? at(i) : 4, y: 14 + 12 * (i % 2) }, picture, short(axis.name, Math.max(10, 2 * room - 2)));
        svg("title", {}, name, axis.name);
        for (const value of scales[i].ticks) svg("text", { class: "tick", x: at(i) + 5, y: scales[i].place(value) + 4 }, picture, axis.names ? short(axis.names[value], room) : figure(value));
      });
    }
    return draw;
  }

  // --- confusion matrix: only cells that are not empty ---

  function matrix(place, chart) {
    html("div", "controls", place, "rows: expected, columns: predicted; the darker, the larger the share of the row");
    const drawing = html("div", "drawing wide", place);
    function draw() {
      drawing.replaceChildren();
      const count = chart.names.length;
      const longest = Math.min(24, Math.max(...chart.names.map((name) => name.length)));
      const named = count <= 40;
      const side = named ? 14 + 6.4 * longest : 4;
      const room = Math.min(760, Math.max(280, drawing.clientWidth));
      const cell = Math.max(named ? 17 : 4, Math.min(64, (room - side - 12) / count));
      const size = side + cell * count + 12;
      const picture = svg("svg", { viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img", "aria-label": chart.label }, drawing);
      if (named) chart.names.forEach((name, i) => {
        svg("text", { class: "tick end", x: side - 6, y: side + cell * (i + 0.5) + 4 }, picture, short(name, 24));
        const at = side + cell * (i + 0.5);
        svg("text", { class: "tick", x: at, y: side - 6, transform: `rotate(-90 ${at} ${side - 6}) translate(0 4)` }, picture, short(name, 24));
      });
      svg("rect", { class: "frame", x: side, y: side, width: cell * count, height: cell * count }, picture);
      const totals = new Array(count).fill(0);
      for (const [row, , number] of chart.cells) totals[row] += number;
      for (const [row, column, number] of chart.cells) {
        const part = number / totals[row];
        const at = { x: side + cell * column, y: side + cell * row };
        const box = svg("rect", { class: row === column ? "cell right" : "cell wrong", x: at.x, y: at.y, width: cell, height: cell, "fill-opacity": (0.08 + 0.92 * Math.sqrt(part)).toFixed(3), tabindex: count <= 20 ? 0 : -1 }, picture);
        const words = `expected ${chart.names[row]}, predicted ${chart.names[column]}: ${number} (${(100 * part).toFixed(1)} %)`;
        svg("title", {}, box, words);
        box.addEventListener("pointermove", (event) => showTip(event, [[`expected ${chart.names[row]}`], [`predicted ${chart.names[column]}`], [`${number} of ${totals[row]} (${(100 * part).toFixed(1)} %)`]]));
        box.addEventListener("pointerleave", hideTip);
        if (cell >= 30) svg("text", { class: part > 0.35 ? "count strong" : "count", x: at.x + cell / 2, y: at.y + cell / 2 + 4 }, picture, number);
      }
    }
    return draw;
  }

  // --- bars: rows with a name, values along the bottom ---

  function frame(drawing, chart, names, row, room, [low, high]) {
    drawing.replaceChildren();
    const height = 10 + row * names.length + 44, picture = canvas(drawing, height, chart.label);
    const wide = picture.viewBox.baseVal.width;
    const side = Math.min(wide * 0.4, 16 + 6.8 * Math.min(28, Math.max(...names.map((name) => name.length))));
    const box = { left: side, right: wide - room, bottom: height - 44, wide };
    const x = scale(low, high, box.left, box.right, false);
    for (const value of ticks(low, high, Math.max(2, (box.right - box.left) / 80), false)) {
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 6, y2: box.bottom }, picture);
      svg("text", { class: "tick middle", x: x(value), y: box.bottom + 18 }, picture, figure(value));
    }
    svg("text", { class: "name middle", x: (box.left + box.right) / 2, y: box.bottom + 36 }, picture, chart.x);
    names.forEach((name, i) => {
      const text = svg("text", { class: "tick end", x: side - 7, y: 10 + row * (i + 0.5) + 4 }, picture, short(name, Math.max(6, Math.floor((side - 12) / 6.6))));
      svg("title", {}, text, name);
    });
    return { picture, box, x };
  }

  function bars(place, chart) {
    const controls = html("div", "controls", place);
    const drawing = html("div", "drawing", place);
    const hidden = legend(controls, chart.series.map((series) => series.name), draw);
    function draw() {
      const shown = chart.series.map((series, index) => ({ ...series, index })).filter((s) => !hidden.has(s.index));
      const thick = Math.max(4, Math.min(12, 26 / Math.max(1, shown.length))), row = Math.max(18, thick * shown.length + 8);
      const high = Math.max(1e-9, ...shown.flatMap((series) => series.values));
      const { picture, x } = frame(drawing, chart, chart.names, row, 46, [0, high]);
      chart.names.forEach((name, i) => shown.forEach((series, place) => {
        const value = series.values[i], top = 10 + row * i;
        const bar = svg("rect", { class: `bar s${series.index % 8}`, x: x(0), y: top + place * thick, width: Math.max(0, x(value) - x(0)), height: thick - 1 }, picture);
        bar.addEventListener("pointermove", (event) => showTip(event, [[name], [`${series.name}: ${figure(value)} %${series.counts ? `, ${figure(series.counts[i])}` : ""}`, series.index]]));
        bar.addEventListener("pointerleave", hideTip);
        if (shown.length === 1) svg("text", { class: "tick", x: x(value) + 4, y: top + thick }, picture, figure(value));
      }));
    }
    return draw;
  }

  // --- tables: sort by a column, show the rows with some words ---

  function sortable(table) {
    const body = table.tBodies[0];
    table.querySelectorAll("thead button").forEach((button) => {
      button.addEventListener("click", () => {
        const head = button.closest("th"), index = head.cellIndex;
        const down = head.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent;
        const compare = (a, b) => {
          const first = Number(key(a)), second = Number(key(b));
          const order = Number.isNaN(first) || Number.isNaN(second) ? key(a).localeCompare(key(b)) : first - second;
          return down ? -order : order;
        };
        body.append(...Array.from(body.rows).sort(compare));
      });
    });
  }

  function filterable(box) {
    const words = box.querySelector("input"), choices = box.querySelectorAll("select"), said = box.querySelector("output");
    const rows = Array.from(box.querySelectorAll("tbody tr"));
    function apply() {
      const wanted = words.value.toLowerCase();
      let count = 0;
      for (const row of rows) {
        const chosen = Array.from(choices).every((choice) => !choice.value || row.cells[choice.dataset.column].textContent === choice.value);
        row.hidden = !(chosen && row.textContent.toLowerCase().includes(wanted));
        count += row.hidden ? 0 : 1;
      }
      said.textContent = `${count} of ${rows.length} examples`;
    }
    words.addEventListener("input", apply);
    choices.forEach((choice) => choice.addEventListener("change", apply));
    apply();
  }

  // --- all together ---

  const kinds = { curves, scatter, parallel, matrix, bars };
  const redraws = [];
  document.querySelectorAll(".chart").forEach((place, index) => {
    const chart = { id: index, ...spec.charts[index] };
    const draw = kinds[chart.kind](place, chart);
    draw();
    place.dataset.drawn = "yes";
    redraws.push(draw);
  });
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll(".filterable").forEach(filterable);
  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;  // a phone's address bar changes the height only
    width = window.innerWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => redraws.forEach((draw) => draw()));
  });
  const themes = document.getElementById("theme");
  themes.hidden = false;
  themes.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
})();
