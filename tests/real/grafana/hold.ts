// What a dashboard must be, in Grafana's own types, as a file of JSON can be it.
import type { AnnotationQuery, Dashboard, VariableModel, VariableOption } from "@grafana/schema";

// JSON has no enums: the value of one is the string it stands for.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer One)[]
    ? Plain<One>[]
    : T extends object
      ? { [Name in keyof T]: Plain<T[Name]> }
      : T;

// Grafana writes three things that its types do not know: what the Prometheus plugin keeps in an annotation, the text
// of a variable's query, and an empty `current` in what it exports for others.
type Annotation = AnnotationQuery & {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
};
type Variable = Omit<VariableModel, "current"> & {
  definition?: string;
  current?: VariableOption | Record<string, never>;
};

export type Held = Plain<
  Omit<Dashboard, "annotations" | "templating"> & {
    // Grafana before 10 read it; later ones ignore it.
    style?: "dark" | "light";
    annotations?: { list?: Annotation[] };
    templating?: { list?: Variable[] };
  }
>;
