// Sentences that the eight regions complete in ways of their own; the page opens with the first.
export const GALLERY = [
  { es: "Tú o vos", en: "Tú or vos", text: "¿cuándo [MASK] venir?" },
  { es: "Cómo se llama a alguien", en: "What one calls somebody", text: "ese [MASK] me cae mal" },
  { es: "Dónde se estudia", en: "Where one studies", text: "voy a la universidad en [MASK]" },
  { es: "Cómo se dice que algo está muy bien", en: "How one says it is great", text: "qué [MASK] está esa canción" },
  { es: "Qué se bebe", en: "What one drinks", text: "me gusta tomar [MASK] en la mañana" },
  { es: "Qué se come", en: "What one eats", text: "qué rico un [MASK] con queso" },
  { es: "Con qué se paga", en: "What one pays with", text: "ya no tengo [MASK] para nada" },
  { es: "Quién juega en la calle", en: "Who plays in the street", text: "los [MASK] juegan en la calle" },
  { es: "A quién se saluda", en: "Whom one greets", text: "hola [MASK], ¿cómo estás?" },
  { es: "Qué se dice al despedirse", en: "What one says on leaving", text: "bueno, nos vemos mañana, [MASK]" },
];
