
// The buttons of .ab change what is heard and keep the place. Heard by the document, so that a page may bring them later.
document.documentElement.classList.add("scripted");
document.addEventListener("click", (event) => {
  const button = event.target.closest(".ab button");
  if (!button) return;
  const box = button.parentElement, buttons = [...box.querySelectorAll("button")], sounds = [...box.querySelectorAll("audio")];
  const now = sounds.find((sound) => sound.classList.contains("now")), next = sounds[buttons.indexOf(button)];
  const playing = !now.paused;
  now.pause();
  if (next !== now) next.currentTime = now.currentTime;
  sounds.forEach((sound) => sound.classList.toggle("now", sound === next));
  buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
  if (playing) next.play();
});
document.addEventListener("play", (event) => {
  for (const sound of document.querySelectorAll("audio")) if (sound !== event.target) sound.pause();
}, true);
