// The large files: downloaded once with progress, checked by SHA-256, and kept in the Cache API.
const CACHE = "bilma-model";

export class DamagedFile extends Error {}
export class UnreachableFile extends Error {}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function get(url, cache) {
  try {
    const response = await fetch(url, { cache });
    if (response.ok) return response;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // what fetch throws without a connection
  }
  throw new UnreachableFile(url);
}

export async function getJson(url) {
  return (await get(url, "no-cache")).json();
}

/** The bytes of a response; `onProgress(bytes)` as they come. */
async function read(response, onProgress) {
  const chunks = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw new UnreachableFile(response.url); });
    if (done) break;
    chunks.push(value);
    onProgress((size += value.length));
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * The bytes of a file, from the cache if they are there and whole.
 * @param {{sha256: string}} expected
 */
export async function getLarge(url, expected, onProgress) {
  const cache = await caches.open(CACHE);
  const key = `${url}?sha256=${expected.sha256}`; // a new model is another entry
  const kept = await cache.match(key);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if ((await sha256(bytes)) === expected.sha256) return bytes;
    await cache.delete(key);
  }
  // The browser's own cache would hold a second copy, and give a damaged one back at each new try.
  const bytes = await read(await get(url, "no-store"), onProgress);
  if ((await sha256(bytes)) !== expected.sha256) throw new DamagedFile(url);
  for (const request of await cache.keys()) {
    if (request.url.split("?")[0] === url) await cache.delete(request); // an older model
  }
  // A full disk keeps nobody from an answer; the next visit downloads again.
  await cache.put(key, new Response(bytes)).catch((error) => console.warn(`${url} was not kept: ${error.message}`));
  return bytes;
}
