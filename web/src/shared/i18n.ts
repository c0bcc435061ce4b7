/** English and 中文, switched in the page without a reload. */
import { computed, ref, watchEffect } from "vue";

export type Language = "en" | "zh";
export const LANGUAGES: Readonly<Record<Language, string>> = { en: "English", zh: "中文" };

const KEPT = "doorstep-language";

/** The language of this page; setting it is kept on the device. */
export const language = ref<Language>(chosen());
/** The same as a BCP 47 tag, for `Intl`. */
export const locale = computed(() => (language.value === "zh" ? "zh-CN" : preferredEnglish()));

watchEffect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  localStorage.setItem(KEPT, language.value);
});

type Text = string | ((given: Given) => string);
type Given = Readonly<Record<string, string | number>>;
type Catalogue = Readonly<Record<string, Text>>;

/**
 * A page's texts. Both languages must have the same names (the compiler sees to it). `{name}` in a
 * text is replaced by `given.name`; a function can choose a plural.
 */
export function texts<const English extends Catalogue>(
  english: English,
  chinese: { readonly [Name in keyof English]: Text },
) {
  return (name: keyof English & string, given: Given = {}): string => {
    const text = (language.value === "zh" ? chinese : english)[name] as Text;
    const filled = typeof text === "function" ? text(given) : text;
    return filled.replace(/\{(\w+)\}/g, (whole, key: string) => String(given[key] ?? whole));
  };
}

/** For English texts: `plural(n, "item")` is "1 item", "2 items". */
export function plural(count: string | number | undefined, one: string, many = `${one}s`): string {
  return `${count ?? 0} ${Number(count) === 1 ? one : many}`;
}

function chosen(): Language {
  const kept = localStorage.getItem(KEPT);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.languages.some((one) => one.toLowerCase().startsWith("zh")) &&
    navigator.language.toLowerCase().startsWith("zh")
    ? "zh"
    : "en";
}

function preferredEnglish(): string {
  return navigator.languages.find((one) => one.toLowerCase().startsWith("en")) ?? "en-GB";
}
