"use strict";
// Shows samples where they are asked for. What they say is text, never markup.
const cards = JSON.parse(document.getElementById("cards").textContent);

function make(kind, parent, attributes) {
  return parent.appendChild(Object.assign(document.createElement(kind), attributes));
}

function card(entry) {
  const box = document.createElement("figure");
  box.className = "card";
  for (const src of entry.images) make("img", box, { src, alt: "a frame of " + entry.id, loading: "lazy" });
  for (const src of entry.sounds) make("audio", box, { src, controls: true, preload: "none", title: "the sound of " + entry.id });
  const caption = make("figcaption", box, {});
  make("strong", caption, { textContent: entry.id });
  for (const textContent of [...entry.lines, ...entry.texts]) make("span", caption, { textContent });
  return box;
}

function fill(place, list) {
  place.replaceChildren(...list.split(",").filter(Boolean).map((number) => card(cards[Number(number)])));
}

for (const place of document.querySelectorAll("div[data-cards]")) fill(place, place.dataset.cards);
for (const button of document.querySelectorAll("button[data-cards]")) {
  button.addEventListener("click", () => {
    const panel = document.getElementById(button.dataset.into);
    for (const other of document.querySelectorAll(`button[data-into="${button.dataset.into}"]`)) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    panel.querySelector("p").textContent = button.title;
    fill(panel.querySelector("div"), button.dataset.cards);
  });
}
