/** ECharts, only what the page draws: lines and bars on a canvas. */
import { BarChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, BarChart, GridComponent, TooltipComponent, LegendComponent, CanvasRenderer]);

export { init };
export type Option = EChartsCoreOption;

/** The page's colours as charts take them; read anew when the theme changes. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: of("--text"),
    text2: of("--text-2"),
    line: of("--line"),
    surface: of("--surface"),
    brand: of("--brand"),
    info: of("--info"),
    good: of("--good"),
    warn: of("--warn-fill"),
    bad: of("--bad-fill"),
    font: of("--font"),
  };
}

/** Colour by state, in both themes; lines differ by dash and symbol too. */
export function colours(): Record<string, string> {
  const p = palette();
  return {
    placed: p.info,
    accepted: p.warn,
    ready: p.brand,
    picked_up: "#b07bd8",
    // Not another green beside `ready`.
    delivered: "#2f9ec4",
    cancelled: p.bad,
  };
}
