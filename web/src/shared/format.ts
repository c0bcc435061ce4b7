/** Money, times and durations as people read them. Pure: language and zone are arguments. */

const formats = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();
/** More than the longest day there is: 25 hours, when summer time ends. */
const DAY_MS_MAX = 30 * 3_600_000;

/** An amount of minor units in its currency: `money(1250, "EUR", "en-GB")` is €12.50. */
export function money(amount: number, currency: string, locale: string): string {
  const format = kept(
    `m ${locale} ${currency}`,
    () => new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol" }),
  );
  return format.format(amount / 10 ** digitsOf(currency));
}

/** Minor units per unit of a currency, as a power of ten: 2 for EUR, 0 for JPY. */
export function digitsOf(currency: string): number {
  const format = kept(`d ${currency}`, () => new Intl.NumberFormat("en", { style: "currency", currency }));
  return format.resolvedOptions().maximumFractionDigits ?? 2;
}

/** What a person typed as an amount, in minor units; null when it is none. Takes `12.5` and `12,50`. */
export function parseMoney(text: string, currency: string): number | null {
  const digits = digitsOf(currency);
  const match = /^\s*(\d{1,9})(?:[.,](\d*))?\s*$/.exec(text);
  const fraction = match?.[2] ?? "";
  if (!match || fraction.length > digits) return null;
  return Number(match[1] + fraction.padEnd(digits, "0"));
}

/** Time of day in the store's zone (IANA name). */
export function timeOfDay(at: number | string, timeZone: string, locale: string): string {
  return zoned(at, timeZone, locale, { hour: "2-digit", minute: "2-digit" });
}

/** Date and time of day in the store's zone. */
export function dateAndTime(at: number | string, timeZone: string, locale: string): string {
  return zoned(at, timeZone, locale, {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

/** Whether two moments fall on the same day in the store's zone. */
export function sameDay(one: number | string, other: number | string, timeZone: string): boolean {
  const day = (at: number | string) =>
    zoned(at, timeZone, "en", { year: "numeric", month: "numeric", day: "numeric" });
  return day(one) === day(other);
}

/** The moment (epoch milliseconds) at which the day of `at` ends in the store's zone. */
export function endOfDay(at: number, timeZone: string): number {
  let [within, after] = [at, at + DAY_MS_MAX];
  while (after - within > 1) {
    const middle = Math.floor((within + after) / 2);
    if (sameDay(at, middle, timeZone)) within = middle;
    else after = middle;
  }
  return after;
}

/** The zone that this device is set to. */
export function deviceZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** `m:ss` below an hour, else `h:mm:ss`; negative durations get a minus. */
export function duration(ms: number): string {
  const all = Math.floor(Math.abs(ms) / 1000);
  const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60];
  const tail = `${pad(seconds)}`;
  const text = hours > 0 ? `${hours}:${pad(minutes)}:${tail}` : `${minutes}:${tail}`;
  return ms < 0 && all > 0 ? `−${text}` : text;
}

/** Whole minutes, rounded towards what is safer to promise: up for time past, down for time left. */
export function minutes(ms: number): number {
  return ms < 0 ? -Math.ceil(-ms / 60_000) : Math.floor(ms / 60_000);
}

/** A distance: `850 m`, `2.4 km`. */
export function distance(meters: number, locale: string): string {
  const far = meters >= 1000;
  const format = kept(
    `l ${locale} ${far}`,
    () =>
      new Intl.NumberFormat(locale, {
        style: "unit",
        unit: far ? "kilometer" : "meter",
        maximumFractionDigits: far ? 1 : 0,
      }),
  );
  return format.format(far ? meters / 1000 : Math.round(meters / 10) * 10);
}

/** Epoch milliseconds of a moment. */
export function millis(at: number | string): number {
  return typeof at === "number" ? at : Date.parse(at);
}

function zoned(
  at: number | string,
  timeZone: string,
  locale: string,
  options: Intl.DateTimeFormatOptions,
): string {
  const key = `t ${locale} ${timeZone} ${JSON.stringify(options)}`;
  const make = () => {
    try {
      return new Intl.DateTimeFormat(locale, { ...options, hourCycle: "h23", timeZone });
    } catch {
      // A zone that is newer than this browser: the device's own time, and saying which that is.
      const named = options.hour ? ({ timeZoneName: "short" } as const) : {};
      return new Intl.DateTimeFormat(locale, { ...options, ...named, hourCycle: "h23" });
    }
  };
  return kept(key, make).format(millis(at));
}

function kept<F extends Intl.NumberFormat | Intl.DateTimeFormat>(key: string, make: () => F): F {
  let format = formats.get(key);
  if (!format) formats.set(key, (format = make()));
  return format as F;
}

function pad(part: number): string {
  return String(part).padStart(2, "0");
}
