// The inspector and a case: pictures by drop, paste and camera; the live feed; keys; the slider of the map; zoom.
// Without this script every form and link of the page works all the same.
"use strict";

const byId = (id) => document.getElementById(id);
const part = () => document.querySelector("#part .part");
const shown = { map: true, opacity: 70 };

// --- pictures of this device

for (const id of ["choose", "take"]) {
  const input = byId(id);
  if (input) input.addEventListener("change", () => input.files.length && send(input));
}

function send(input) {
  document.body.classList.add("sending");
  input.form.requestSubmit();
}

function sendFiles(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  if (!pictures.length || !byId("choose")) return;
  const given = new DataTransfer();
  pictures.forEach((file) => given.items.add(file));
  byId("choose").files = given.files;
  send(byId("choose"));
}

document.addEventListener("paste", (event) => sendFiles(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  sendFiles(event.dataTransfer.files);
});
window.addEventListener("pageshow", () => document.body.classList.remove("sending"));

// --- the part: the slider of its map

function prepare() {
  const slider = byId("opacity");
  if (slider) {
    slider.value = shown.map ? shown.opacity : 0;
    fade();
  }
  if (byId("zoom-open")) byId("zoom-open").hidden = false;
  if (byId("map-scale")) byId("map-scale").closest("label").hidden = false;
  mark();
}

function fade() {
  const layer = document.querySelector(".layer");
  if (layer) layer.style.opacity = byId("opacity").value / 100;
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "opacity") return;
  shown.opacity = Number(event.target.value) || shown.opacity;
  shown.map = event.target.value !== "0";
  fade();
});
// What the map's colours stand for. The next part begins with the threshold again: on its own range every map has red.
document.addEventListener("change", (event) => {
  if (event.target.id !== "map-scale") return;
  const scale = event.target.value;
  part().dataset.layer = `/parts/${part().dataset.id}/layer?scale=${scale}`;
  document.querySelector(".layer").src = part().dataset.layer;
  byId("map-scale-note").hidden = scale === "threshold";
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "part") return;
  // htmx keeps the focus in the field that sent the review; the keys are for the part that is there now
  if (document.activeElement.closest("#review")) byId("main").focus({ preventScroll: true });
  prepare();
});

function toggleMap() {
  shown.map = !shown.map;
  prepare();
}

// --- the list: which part is shown, and the live feed

const feed = byId("feed");
const follow = { on: feed && feed.dataset.follows === "true", paused: false, waiting: [], showing: false };

function mark() {
  if (!feed || !part()) return;
  for (const link of feed.querySelectorAll("a")) {
    const current = link.parentElement.dataset.id === part().dataset.id;
    if (current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function step(by) {
  if (!feed) return;
  const links = [...feed.querySelectorAll("a")];
  const at = links.findIndex((link) => link.getAttribute("aria-current"));
  const next = links[at + by];
  if (next) {
    next.click();
    next.scrollIntoView({ block: "nearest" });
  }
}

if (feed) feed.addEventListener("click", (event) => event.isTrusted && (follow.on = false));
document.addEventListener("focusin", (event) => {
  if (event.target.closest("#review")) follow.on = false; // who writes about a part keeps it
});

function add(item) {
  feed.insertAdjacentHTML("afterbegin", item.html);
  htmx.process(feed.firstElementChild);
  while (feed.children.length > 60) feed.lastElementChild.remove();
  if (follow.on) showNewest();
  mark();
}

function showNewest() {
  if (follow.showing) return;
  follow.showing = true; // one at a time, however fast the line is
  const id = feed.firstElementChild.dataset.id;
  htmx.ajax("GET", `/?id=${id}`, { target: "#part" }).finally(() => {
    follow.showing = false;
    if (follow.on && feed.firstElementChild.dataset.id !== id) showNewest();
  });
}

function pause() {
  follow.paused = !follow.paused;
  byId("pause").setAttribute("aria-pressed", String(follow.paused));
  if (!follow.paused) {
    follow.on = true;
    follow.waiting.splice(0).forEach(add);
  }
}

if (feed && feed.dataset.live) {
  const source = new EventSource(feed.dataset.live);
  byId("pause").hidden = false;
  byId("pause").addEventListener("click", pause);
  source.onopen = () => (byId("feed-lost").hidden = true);
  source.onmessage = (event) => {
    const item = JSON.parse(event.data);
    const known = feed.querySelector(`[data-id="${item.id}"]`) || follow.waiting.some((each) => each.id === item.id);
    if (known) return;
    if (follow.paused) follow.waiting = [...follow.waiting.slice(-59), item];
    else add(item);
  };
  source.addEventListener("end", () => {
    source.close();
    byId("feed-ended").hidden = false;
  });
  source.onerror = () => (byId("feed-lost").hidden = source.readyState !== EventSource.CONNECTING);
  window.addEventListener("pagehide", () => source.close());
}

// --- zoom, whose script is loaded when it is first wanted

let viewer = null;

function loadZoom() {
  if (window.OpenSeadragon) return Promise.resolve();
  // The script would add rules of its own to the page, which the policy forbids, unless it finds an element like this.
  const marker = document.createElementNS("", "style");
  marker.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(marker);
  return new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = byId("aside").dataset.zoomScript;
    script.onload = loaded;
    script.onerror = failed;
    document.head.append(script);
  });
}

async function zoom() {
  if (!part() || !byId("zoom-open")) return;
  await loadZoom();
  const { id, width, height, layer } = part().dataset;
  byId("zoom").showModal();
  const levels = [384, 768, 1536, 3072].map((wide) => Math.min(wide, width)).filter((wide, at, all) => all.indexOf(wide) === at);
  const source = (url) => ({ type: "image", url });
  viewer = OpenSeadragon({
    element: byId("zoom-view"),
    showNavigationControl: false,
    animationTime: 0.3,
    maxZoomPixelRatio: 12,
    imageSmoothingEnabled: width > 64,
    tileSources: [
      {
        type: "legacy-image-pyramid",
        levels: levels.map((wide) => ({ url: `/parts/${id}/image?width=${rounded(wide)}`, width: wide, height: Math.round((height * wide) / width) })),
      },
      ...(layer ? [{ tileSource: source(layer), opacity: byId("zoom-opacity").value / 100 }] : []),
    ],
  });
}

function rounded(wide) {
  return [384, 768, 1536, 3072].find((each) => each >= wide) || 3072;
}

function closeZoom() {
  if (viewer) viewer.destroy();
  viewer = null;
  if (byId("zoom").open) byId("zoom").close();
}

const zooming = {
  in: () => viewer.viewport.zoomBy(1.5).applyConstraints(),
  out: () => viewer.viewport.zoomBy(1 / 1.5).applyConstraints(),
  home: () => viewer.viewport.goHome(),
  close: closeZoom,
};
document.addEventListener("click", (event) => {
  if (event.target.closest("#zoom-open")) zoom();
  if (event.target.closest("#keys-help")) showKeys();
  const button = event.target.closest("[data-zoom]");
  if (button) zooming[button.dataset.zoom]();
});
if (byId("zoom")) {
  byId("zoom").addEventListener("close", closeZoom);
  byId("zoom-opacity").addEventListener("input", (event) => {
    const layer = viewer && viewer.world.getItemAt(1);
    if (layer) layer.setOpacity(event.target.value / 100);
  });
}

// --- keys, which can be turned off, since single letters disturb some ways of input

const keysOn = byId("keys-on");
if (keysOn) {
  keysOn.checked = localStorage.getItem("keys") !== "off";
  keysOn.addEventListener("change", () => localStorage.setItem("keys", keysOn.checked ? "on" : "off"));
  if (byId("keys-help")) byId("keys-help").hidden = false;
}

function showKeys() {
  byId("keys").showModal();
}

const press = (id) => byId(id) && byId(id).click();
const KEYS = {
  g: () => press("good"),
  d: () => byId("new-type") && byId("new-type").focus(),
  n: () => byId("note") && byId("note").focus(),
  u: () => press("undo"),
  s: () => press("skip"),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  z: zoom,
  m: toggleMap,
  p: () => press("pause"),
  "?": showKeys,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (byId("zoom") && byId("zoom").open) {
    const action = { "+": "in", "-": "out", 0: "home" }[event.key];
    if (action) zooming[action]();
    return;
  }
  if (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog[open]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!keysOn || !keysOn.checked || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
  const typed = /^[1-9]$/.test(event.key) && document.querySelector(`[data-number="${event.key}"]`);
  const action = typed ? () => typed.click() : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

prepare();
