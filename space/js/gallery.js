// Sentences that the eight regions complete in ways of their own.
export const GALLERY = [
  { es: "Qué se come", en: "What one eats", text: "vamos a comer [MASK]" },
  { es: "Qué se bebe", en: "What one drinks", text: "me gusta tomar [MASK] en la mañana" },
  { es: "En qué se viaja", en: "What one rides", text: "perdí el [MASK] y llegué tarde al trabajo" },
  { es: "Cómo se llama a un amigo", en: "What one calls a friend", text: "¿qué haces, [MASK]? ¿cómo va todo?" },
  { es: "Voseo y tuteo", en: "Tú or vos", text: "si [MASK] venir con nosotros, avisa" },
  { es: "Cómo se dice que algo gusta", en: "How one says it is great", text: "qué [MASK] está esa canción" },
  { es: "Con qué se paga", en: "What one pays with", text: "ya no tengo [MASK] para nada" },
  { es: "Quién juega en la calle", en: "Who plays in the street", text: "los [MASK] juegan en la calle" },
  { es: "Qué se lleva en el bolsillo", en: "What is in your pocket", text: "se me cayó el [MASK] al agua" },
  { es: "Qué se dice al despedirse", en: "What one says on leaving", text: "bueno, nos vemos mañana, [MASK]" },
];
