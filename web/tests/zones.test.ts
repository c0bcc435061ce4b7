import { describe, expect, it } from "vitest";
import { type WorkZone, zoneFor } from "../src/rider/zones";

function zoneAt(zone_id: string, ...lats: number[]): WorkZone {
  const stores = lats.map((lat) => ({ store_id: `${zone_id}-${lat}`, name: "", position: { lat, lon: 13.4 }, areas: [] }));
  return { zone_id, currency: "EUR", time_zone: "Europe/Berlin", stores };
}

const north = zoneAt("a-north", 54);
const south = zoneAt("b-south", 48, 52.4);
const here = { lat: 52.5, lon: 13.4 };

describe("the zone that a shift starts in", () => {
  it("is the one with the nearest store", () => {
    expect(zoneFor([north, south], "", here)).toBe("b-south");
    expect(zoneFor([north, south], "", { lat: 53.9, lon: 13.4 })).toBe("a-north");
  });

  it("is not known before the place is: a list that comes first decides nothing", () => {
    expect(zoneFor([north, south], "", null)).toBe("");
  });

  it("is what the rider chose, wherever they are, until there is no such zone any more", () => {
    expect(zoneFor([north, south], "a-north", here)).toBe("a-north");
    expect(zoneFor([north, south], "a-north", null)).toBe("a-north");
    expect(zoneFor([north, south], "closed", here)).toBe("b-south");
  });

  it("is the only one where there is but one, and none where there is none", () => {
    expect(zoneFor([south], "", null)).toBe("b-south");
    expect(zoneFor([], "", here)).toBe("");
  });
});
