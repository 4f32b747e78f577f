// A sentence as words and signs. The text is what counts; [MASK] in it is a hidden word.
export const MASK = "[MASK]";
// Links, users, hashtags and numbers are one word each, as the tokenizer of the model reads them.
const PARTS = /\[MASK\]|(?:https?|ftp):\/\/\S+|[@#]\S+|[-+]?\d+\.?\d*|[\p{L}\p{M}]+|\p{Emoji_Presentation}|\S/gu;
const SIGN = /^[^\p{L}\p{N}@#[\p{Emoji_Presentation}]/u;

/** Parts of a text: {text, start, end, sign}. */
export function partsOf(text) {
  return Array.from(text.matchAll(PARTS), (match) => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
    sign: SIGN.test(match[0]),
  }));
}

export const replacePart = (text, { start, end }, by) => text.slice(0, start) + by + text.slice(end);

export const countMasks = (text) => text.split(MASK).length - 1;
