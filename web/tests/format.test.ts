import { describe, expect, it } from "vitest";
import {
  dateAndTime,
  distance,
  duration,
  endOfDay,
  minutes,
  money,
  parseMoney,
  sameDay,
  timeOfDay,
} from "../src/shared/format";

describe("what people read", () => {
  it("writes money by locale and by the currency's own digits", () => {
    expect(money(1250, "EUR", "en-GB")).toBe("€12.50");
    expect(money(1250, "JPY", "en-GB")).toBe("¥1,250");
    expect(money(1250, "CNY", "zh-CN")).toBe("¥12.50");
    expect(money(1250, "KWD", "en-GB")).toContain("1.250");
  });

  it("reads typed amounts as minor units, or not at all", () => {
    expect(parseMoney("12.5", "EUR")).toBe(1250);
    expect(parseMoney(" 12,50 ", "EUR")).toBe(1250);
    expect(parseMoney("12", "JPY")).toBe(12);
    for (const text of ["", "12.505", "-3", "1e3", "12.5.1", "twelve"]) {
      expect(parseMoney(text, "EUR")).toBeNull();
    }
    expect(parseMoney("1.5", "JPY")).toBeNull();
  });

  it("writes times in the store's zone, whatever zone the device is in", () => {
    expect(timeOfDay("2026-03-01T23:30:00Z", "Europe/Berlin", "en-GB")).toBe("00:30");
    expect(timeOfDay("2026-03-01T23:30:00Z", "America/Bogota", "en-GB")).toBe("18:30");
    expect(dateAndTime("2026-03-01T23:30:00Z", "Asia/Shanghai", "en-GB")).toBe("2 Mar, 07:30:00");
  });

  it("knows summer time, and both passes of the hour that comes twice", () => {
    expect(timeOfDay("2026-07-01T06:00:00Z", "Europe/Berlin", "en-GB")).toBe("08:00");
    expect(timeOfDay("2026-12-01T06:00:00Z", "Europe/Berlin", "en-GB")).toBe("07:00");
    expect(timeOfDay("2026-03-29T00:59:00Z", "Europe/Berlin", "en-GB")).toBe("01:59");
    expect(timeOfDay("2026-03-29T01:00:00Z", "Europe/Berlin", "en-GB")).toBe("03:00");
    expect(timeOfDay("2026-10-25T00:30:00Z", "Europe/Berlin", "en-GB")).toBe("02:30");
    expect(timeOfDay("2026-10-25T01:30:00Z", "Europe/Berlin", "en-GB")).toBe("02:30");
  });

  it("says which time it shows when the browser does not know the store's zone", () => {
    const shown = timeOfDay("2026-07-01T06:00:00Z", "Europe/Atlantis", "en-GB");
    expect(shown).toMatch(/^\d\d:\d\d \S+/);
    expect(sameDay("2026-07-01T06:00:00Z", "2026-07-01T06:01:00Z", "Europe/Atlantis")).toBe(true);
  });

  it("knows the store's day", () => {
    expect(sameDay("2026-03-01T23:30:00Z", "2026-03-02T01:00:00Z", "Europe/Berlin")).toBe(true);
    expect(sameDay("2026-03-01T22:30:00Z", "2026-03-02T01:00:00Z", "Europe/Berlin")).toBe(false);
    expect(sameDay("2026-03-02T01:00:00Z", "2025-03-02T01:00:00Z", "Europe/Berlin")).toBe(false);
  });

  it.each([
    ["Europe/Berlin", "2026-07-01T20:00:00Z", "2026-07-01T22:00:00.000Z"],
    ["Europe/Berlin", "2026-07-01T22:00:00Z", "2026-07-02T22:00:00.000Z"],
    ["Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T22:00:00.000Z"],
    ["Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00.000Z"],
    ["America/Bogota", "2026-07-01T04:59:59Z", "2026-07-01T05:00:00.000Z"],
    ["America/Havana", "2026-03-07T12:00:00Z", "2026-03-08T05:00:00.000Z"],
  ])("finds the end of the day in %s after %s", (zone, at, end) => {
    expect(new Date(endOfDay(Date.parse(at), zone)).toISOString()).toBe(end);
  });

  it("writes durations, distances and safe minutes", () => {
    expect(duration(65_000)).toBe("1:05");
    expect(duration(3_725_000)).toBe("1:02:05");
    expect(duration(-5_000)).toBe("−0:05");
    expect(minutes(119_000)).toBe(1);
    expect(minutes(-61_000)).toBe(-2);
    expect(distance(846, "en-GB")).toBe("850 m");
    expect(distance(2_360, "en-GB")).toBe("2.4 km");
  });
});
