/** One place that speaks to screen readers, and the short notes that everybody sees. */
import { reactive } from "vue";

export type Tone = "info" | "good" | "warn" | "bad";

export interface Note {
  id: number;
  text: string;
  tone: Tone;
  /** Stays until it is dismissed. */
  sticky: boolean;
}

export const notes = reactive<Note[]>([]);
const SHOWN_MS = 6_000;
const NOTES_MAX = 4;
let last = 0;

/** Show a note and have it read out. */
export function tell(text: string, tone: Tone = "info", sticky = false): Note {
  const note: Note = { id: (last += 1), text, tone, sticky };
  notes.push(note);
  while (notes.length > NOTES_MAX) notes.splice(Math.max(0, notes.findIndex((one) => !one.sticky)), 1);
  if (!sticky) setTimeout(() => dismiss(note.id), SHOWN_MS);
  return note;
}

export function dismiss(id: number): void {
  const at = notes.findIndex((one) => one.id === id);
  if (at >= 0) notes.splice(at, 1);
}
