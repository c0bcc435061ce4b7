/** The sound and shake of a new offer. Browsers allow sound after a first touch of the page. */
let context: AudioContext | null = null;

addEventListener("pointerdown", () => void open()?.resume().catch(() => undefined), { once: true });

export function ring(): void {
  navigator.vibrate?.([250, 120, 250, 120, 400]);
  const audio = open();
  if (!audio || audio.state !== "running") return;
  [0, 0.22, 0.44].forEach((after, turn) => tone(audio, audio.currentTime + after, turn === 2 ? 1175 : 880));
}

function tone(audio: AudioContext, at: number, hertz: number): void {
  const oscillator = audio.createOscillator();
  const volume = audio.createGain();
  oscillator.frequency.value = hertz;
  volume.gain.setValueAtTime(0.0001, at);
  volume.gain.exponentialRampToValueAtTime(0.35, at + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.0001, at + 0.2);
  oscillator.connect(volume).connect(audio.destination);
  oscillator.start(at);
  oscillator.stop(at + 0.22);
}

function open(): AudioContext | null {
  if (!context && "AudioContext" in window) context = new AudioContext();
  return context;
}
