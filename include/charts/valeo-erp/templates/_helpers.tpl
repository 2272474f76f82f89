{{/* What tells this slot's pods from all others; never changes, because a Deployment's selector cannot. */}}
{{- define "valeo-erp.selector" -}}
app.kubernetes.io/name: valeo-erp
app.kubernetes.io/instance: {{ .Release.Name }}
version: {{ .Values.slot }}
{{- end }}

{{- define "valeo-erp.labels" -}}
{{ include "valeo-erp.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.image.tag }}
app.kubernetes.io/version: {{ trunc 63 . | trimAll "-_." | quote }}
{{- end }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "valeo-erp.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "valeo-erp.secret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" .Release.Name) }}
{{- end }}
