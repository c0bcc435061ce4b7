/** The sound of new work: made by the browser itself, repeated until somebody acts. */
import { ref } from "vue";

const EVERY_MS = 4_000;
const KEPT = "doorstep-tablet-sound";

/** Whether the clerk wants sound. */
export const soundOn = ref(localStorage.getItem(KEPT) !== "off");
/** Whether the browser still waits for a touch before it lets a page be heard. */
export const soundBlocked = ref(false);

let context: AudioContext | null = null;
let timer: ReturnType<typeof setInterval> | null = null;
let urgent = false;

export function setSound(on: boolean): void {
  soundOn.value = on;
  localStorage.setItem(KEPT, on ? "on" : "off");
  if (on) unlock();
}

/** Ring (more insistently when `escalated`) until called with a count of zero. */
export function ring(count: number, escalated: boolean): void {
  urgent = escalated;
  if (count === 0 || !soundOn.value) {
    if (timer) clearInterval(timer);
    timer = null;
  } else if (!timer) {
    chime();
    timer = setInterval(chime, EVERY_MS);
  }
}

/** To be called from a touch: browsers keep pages silent until then. */
export function unlock(): void {
  context ??= new AudioContext();
  void context.resume().then(() => (soundBlocked.value = context?.state !== "running"));
}

function chime(): void {
  context ??= new AudioContext();
  soundBlocked.value = context.state !== "running";
  if (context.state !== "running") return;
  const notes = urgent ? [988, 1319, 988, 1319] : [784, 1047];
  notes.forEach((frequency, index) => tone(context as AudioContext, frequency, index * 0.17));
}

function tone(audio: AudioContext, frequency: number, delay: number): void {
  const start = audio.currentTime + delay;
  const oscillator = new OscillatorNode(audio, { type: "triangle", frequency });
  const volume = new GainNode(audio, { gain: 0 });
  volume.gain.setValueAtTime(0, start);
  volume.gain.linearRampToValueAtTime(0.35, start + 0.015);
  volume.gain.exponentialRampToValueAtTime(0.001, start + 0.45);
  oscillator.connect(volume).connect(audio.destination);
  oscillator.start(start);
  oscillator.stop(start + 0.5);
}
